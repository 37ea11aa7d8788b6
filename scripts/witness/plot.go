package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// plot is a node with two log directories whose broker is exchanged in the midst of transactions. Of every topic of these, and of the
// groups' log, partition 0 lies in the first directory and partition 1 in the second; without the second no transaction that is in
// both can get all its markers, so that it stays prepared for as long as one likes. (By Ottla. Apache Kafka takes a partition without
// a leader for deleted and forgets its marker, so there it is the way from the broker to itself that is cut.)
type plot struct {
	Round     int
	Authors   map[string]*author // By transactional id.
	Before    map[string]*author // As they were before the end of a transaction.
	Written   map[string][]line  // What every partition has acknowledged, in order.
	Committed map[string]bool    // The transactions, by name, that shall be seen.
}

type line struct{ Value, Transaction string }

var plotTopics = []string{"done", "open", "fenced", "late", "offset", "prepared"}

const (
	ageless = 15 * time.Minute
	// Longer than a round takes from there on.
	lateAfter = 40 * time.Second
	groupLogs = 2
)

// plotChore does one of four things with a broker. `open`: makes transactions of all kinds and leaves them. `prepare`: ends some, when
// not all markers can be written. `look`: how these stand. `settle`: what another broker has made of all that, and their ends. It
// prints what the broker answered, which is the same for every broker.
func plotChore(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of the broker")
	file := flags.String("state", "", "what the authors know")
	dirs := flags.String("dirs", "", "the two log directories, separated by a comma")
	do := flags.String("do", "", "open, prepare, look or settle")
	isMissing := flags.Bool("missing", false, "the second directory is on its way out: wait until the broker has noticed")
	_ = flags.Parse(arguments) // ExitOnError
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	press, err := newPress(*bootstrap)
	if err != nil {
		return err
	}
	defer press.close()
	it := &scene{press: press, bootstrap: *bootstrap}
	if err := it.read(*file); err != nil {
		return err
	}
	switch *do {
	case "open":
		if it.Round == 0 {
			err = it.found(ctx, strings.Split(*dirs, ","))
		}
		err = errors.Join(err, it.open(ctx))
	case "prepare":
		if *isMissing {
			err = it.miss(ctx)
		}
		if err == nil {
			err = it.prepare(ctx)
		}
	case "look":
		err = errors.Join(awaitLog(ctx, press.now, "__transaction_state"), it.look(ctx))
	case "settle":
		err = errors.Join(awaitCoordinators(ctx, press.now), it.settle(ctx))
		it.Round++
	default:
		err = fmt.Errorf("nothing to do: %q", *do)
	}
	if err != nil {
		return err
	}
	bytes, err := json.Marshal(it.plot)
	if err != nil {
		return err
	}
	return os.WriteFile(*file, bytes, 0o644)
}

type scene struct {
	plot
	press     *press
	bootstrap string
}

func (s *scene) read(file string) error {
	s.Authors, s.Before, s.Written, s.Committed = map[string]*author{}, map[string]*author{}, map[string][]line{}, map[string]bool{"": true}
	bytes, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(bytes, &s.plot)
}

func say(format string, arguments ...any) { fmt.Printf(format+"\n", arguments...) }

// found makes the topics, and has each partition where it belongs.
func (s *scene) found(ctx context.Context, dirs []string) error {
	if len(dirs) != 2 {
		return errors.New("two log directories are needed")
	}
	if err := errors.Join(summon(ctx, s.press.now, ofGroups, "anybody"), summon(ctx, s.press.now, ofTransactions, "anybody")); err != nil {
		return err
	}
	admin := kadm.NewClient(s.press.now)
	for _, topic := range plotTopics {
		if _, err := admin.CreateTopic(ctx, 2, 1, nil, topic); err != nil {
			return err
		}
	}
	request := kmsg.NewPtrAlterReplicaLogDirsRequest()
	for n, dir := range dirs {
		it := kmsg.NewAlterReplicaLogDirsRequestDir()
		it.Dir = dir
		for _, topic := range append([]string{"__consumer_offsets"}, plotTopics...) {
			ofTopic := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
			ofTopic.Topic, ofTopic.Partitions = topic, []int32{int32(n)}
			it.Topics = append(it.Topics, ofTopic)
		}
		if n == 0 {
			coordinators := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
			coordinators.Topic, coordinators.Partitions = "__transaction_state", []int32{0, 1}
			it.Topics = append(it.Topics, coordinators)
		}
		request.Dirs = append(request.Dirs, it)
	}
	where := ""
	waited := until("the partitions are where they belong", func() bool {
		// A broker that has not heard of a partition yet does not move it.
		if _, err := ask[*kmsg.AlterReplicaLogDirsResponse](ctx, s.press.now, request); err != nil {
			where = err.Error()
			return false
		}
		time.Sleep(200 * time.Millisecond)
		where = s.misplaced(ctx, dirs)
		return where == ""
	})
	if waited != nil {
		return fmt.Errorf("%w: %s", waited, where)
	}
	return nil
}

func (s *scene) misplaced(ctx context.Context, dirs []string) string {
	response, err := ask[*kmsg.DescribeLogDirsResponse](ctx, s.press.now, kmsg.NewPtrDescribeLogDirsRequest())
	if err != nil {
		return err.Error()
	}
	n := 0
	var wrong []string
	for _, dir := range response.Dirs {
		for _, topic := range dir.Topics {
			for _, p := range topic.Partitions {
				wanted := dirs[0]
				if topic.Topic != "__transaction_state" && p.Partition == 1 {
					wanted = dirs[1]
				}
				if n++; p.IsFuture || dir.Dir != wanted {
					wrong = append(wrong, fmt.Sprintf("%s-%d in %s", topic.Topic, p.Partition, dir.Dir))
				}
			}
		}
	}
	if missing := 2*(len(plotTopics)+2) - n; missing > 0 {
		wrong = append(wrong, fmt.Sprintf("%d missing", missing))
	}
	return strings.Join(wrong, ", ")
}

// The group of a kind of author; its home is the directory that stays or the one that goes.
func groupFor(kind string, isOld bool) string {
	home := 0
	if kind == "prepared-commit" || kind == "prepared-abort" || kind == "evicted" {
		home = 1
	}
	return nameAt(fmt.Sprintf("%s-%s-", kind, protocolName(isOld)), home, groupLogs)
}

func kindOf(topic string, isCommit bool) string {
	if isCommit {
		return topic + "-commit"
	}
	return topic + "-abort"
}

func protocolName(isOld bool) string {
	if isOld {
		return "old"
	}
	return "new"
}

func (s *scene) author(kind string, isOld bool) *author {
	id := fmt.Sprintf("%s-%s-%d", kind, protocolName(isOld), s.Round)
	if s.Authors[id] == nil {
		s.Authors[id] = &author{ID: id, IsOld: isOld, Next: map[string]int32{}}
	}
	return s.Authors[id]
}

// write sends a batch to a partition, and remembers it if it was acknowledged.
func (s *scene) write(ctx context.Context, a *author, topic string, partition int32, n int) (int16, error) {
	at := placeOf(topic, partition)
	if a.IsOld && a.ID != "" {
		if code, err := s.press.add(ctx, a, topic, partition); err != nil || code != 0 {
			return code, err
		}
	}
	transaction := ""
	if a.ID != "" {
		transaction = a.transaction()
	}
	var values []string
	for i := range n {
		values = append(values, fmt.Sprintf("%s %s %d", at, transaction, int(a.Next[at])+i))
	}
	code, _, err := s.press.produce(ctx, a, topic, partition, a.Next[at], values)
	if err != nil || code != 0 {
		return code, err
	}
	a.Next[at] += int32(n)
	for _, value := range values {
		s.Written[at] = append(s.Written[at], line{value, transaction})
	}
	return 0, nil
}

// writeBoth writes to both partitions of a topic; everything must be taken.
func (s *scene) writeBoth(ctx context.Context, a *author, topic string) error {
	for p := range int32(2) {
		code, err := s.write(ctx, a, topic, p, 2)
		if err = errors.Join(err, kerr.ErrorForCode(code)); err != nil {
			return fmt.Errorf("%s writes to %s-%d: %w", a.ID, topic, p, err)
		}
	}
	return nil
}

func (s *scene) end(ctx context.Context, a *author, isCommit bool) error {
	transaction := a.transaction()
	code, err := s.press.end(ctx, a, isCommit)
	if err = errors.Join(err, kerr.ErrorForCode(code)); err != nil {
		return fmt.Errorf("%s: %w", transaction, err)
	}
	s.Committed[transaction] = isCommit
	return nil
}

// begin registers a new author and writes its first records.
func (s *scene) begin(ctx context.Context, kind, topic string, isOld bool, timeout time.Duration) (*author, error) {
	a := s.author(kind, isOld)
	code, err := s.press.register(ctx, a, timeout)
	if err = errors.Join(err, kerr.ErrorForCode(code)); err != nil {
		return a, fmt.Errorf("%s registers: %w", a.ID, err)
	}
	if topic == "" {
		return a, nil
	}
	return a, s.writeBoth(ctx, a, topic)
}

// Offsets of a round: what was committed before, and what the transaction commits.
func (s *scene) atFirst() int64 { return int64(s.Round*100 + 10) }
func (s *scene) atLast() int64  { return int64(s.Round*100 + 50) }

func (s *scene) beginWithOffsets(ctx context.Context, kind, topic string, isOld bool) (*author, error) {
	group := groupFor(kind, isOld)
	code, err := commit{group, "", "", -1, topic, 0, s.atFirst(), nil}.send(ctx, s.press.now)
	if err = errors.Join(err, kerr.ErrorForCode(code)); err != nil {
		return nil, fmt.Errorf("group %s: %w", group, err)
	}
	a, err := s.begin(ctx, kind, topic, isOld, ageless)
	if err != nil {
		return a, err
	}
	code, err = s.press.commitOffset(ctx, a, group, topic, s.atLast())
	if err = errors.Join(err, kerr.ErrorForCode(code)); err != nil {
		return a, fmt.Errorf("%s commits for %s: %w", a.ID, group, err)
	}
	return a, nil
}

// open leaves transactions in every state that can be reached while all is well.
func (s *scene) open(ctx context.Context) error {
	for _, isOld := range []bool{false, true} {
		for _, isCommit := range []bool{true, false} {
			a, err := s.beginWithOffsets(ctx, kindOf("done", isCommit), "done", isOld)
			if err != nil {
				return err
			}
			s.Before[a.ID] = a.asItIs()
			if err := s.end(ctx, a, isCommit); err != nil {
				return err
			}
		}
		plain := &author{IsOld: isOld, Next: map[string]int32{}}
		code, err := s.press.register(ctx, plain, ageless)
		if err = errors.Join(err, kerr.ErrorForCode(code)); err != nil {
			return err
		}
		if err := s.writeBoth(ctx, plain, "done"); err != nil {
			return err
		}
		for _, it := range []struct{ kind, topic string }{{"offset-commit", "offset"}, {"offset-abort", "offset"}, {"prepared-commit", "prepared"},
			{"prepared-abort", "prepared"}, {"evicted", "prepared"}} {
			if _, err := s.beginWithOffsets(ctx, it.kind, it.topic, isOld); err != nil {
				return err
			}
		}
		for _, it := range []struct{ kind, topic string }{{"open", "open"}, {"fenced", "fenced"}, {"idle", ""}} {
			if _, err := s.begin(ctx, it.kind, it.topic, isOld, ageless); err != nil {
				return err
			}
		}
	}
	// The last ones: time is running.
	for _, isOld := range []bool{false, true} {
		if _, err := s.begin(ctx, "late", "late", isOld, lateAfter); err != nil {
			return err
		}
	}
	return nil
}

func (s *scene) miss(ctx context.Context) error {
	return until("the second directory is missed", func() bool {
		leader, err := s.leaderOf(ctx, "prepared", 1)
		return err == nil && leader < 0
	})
}

// prepare ends transactions that cannot get all their markers.
func (s *scene) prepare(ctx context.Context) error {
	for _, isOld := range []bool{false, true} {
		for _, isCommit := range []bool{true, false} {
			a := s.author(kindOf("prepared", isCommit), isOld)
			before := a.asItIs()
			if err := s.end(ctx, a, isCommit); err != nil {
				return err
			}
			// The same once more, as if the answer had been lost; and the opposite.
			same, sameErr := s.press.endOnce(ctx, before.asItIs(), isCommit)
			other, otherErr := s.press.endOnce(ctx, before.asItIs(), !isCommit)
			if err := errors.Join(sameErr, otherErr); err != nil {
				return err
			}
			say("%s is prepared: the same again %s, the opposite %s", a.ID, codeName(same), codeName(other))
		}
		a := s.author("evicted", isOld)
		code, err := s.press.registerOnce(ctx, a.asItIs(), ageless)
		if err != nil {
			return err
		}
		say("%s is prepared: another one registers: %s", a.ID, codeName(code))
	}
	time.Sleep(time.Second)
	return s.look(ctx)
}

func (s *scene) leaderOf(ctx context.Context, topic string, partition int32) (int32, error) {
	request := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = &topic
	request.Topics = append(request.Topics, asked)
	metadata, err := ask[*kmsg.MetadataResponse](ctx, s.press.now, request)
	if err != nil {
		return 0, err
	}
	for _, described := range metadata.Topics {
		for _, p := range described.Partitions {
			if p.Partition == partition {
				return p.Leader, nil
			}
		}
	}
	return 0, fmt.Errorf("there is no %s-%d", topic, partition)
}

var prepared = []struct{ kind, state string }{
	{"prepared-commit", "PrepareCommit"}, {"prepared-abort", "PrepareAbort"}, {"evicted", "PrepareAbort"},
}

// look insists that what was prepared is so, in all words.
func (s *scene) look(ctx context.Context) error {
	for _, isOld := range []bool{false, true} {
		for _, it := range prepared {
			state, err := describeTransaction(ctx, s.press.now, s.author(it.kind, isOld).ID)
			if err = errors.Join(err, kerr.ErrorForCode(state.ErrorCode)); err != nil {
				return err
			}
			if state.State != it.state {
				return fmt.Errorf("%s is %s, not %s", state.TransactionalID, state.State, it.state)
			}
			say("%s is %s", state.TransactionalID, state.State)
			fmt.Fprintln(os.Stderr, transactionText(state)) // With its ids, for the same directory only.
		}
	}
	return nil
}

// shows compares what read_committed sees of the topics with what was committed.
func (s *scene) shows(ctx context.Context, topics ...string) error {
	for _, topic := range topics {
		for p := range int32(2) {
			var wanted []string
			for _, line := range s.Written[placeOf(topic, p)] {
				if s.Committed[line.Transaction] {
					wanted = append(wanted, line.Value)
				}
			}
			seen, err := s.readCommitted(ctx, topic, p)
			if err != nil {
				return err
			}
			if !slices.Equal(seen, wanted) {
				return fmt.Errorf("read_committed sees of %s-%d\n  %s\nnot\n  %s", topic, p, strings.Join(seen, "\n  "), strings.Join(wanted, "\n  "))
			}
			say("%s-%d shows %d of %d records", topic, p, len(seen), len(s.Written[placeOf(topic, p)]))
		}
	}
	return nil
}

func (s *scene) readCommitted(ctx context.Context, topic string, partition int32) ([]string, error) {
	admin := kadm.NewClient(s.press.now)
	stable, err := admin.ListCommittedOffsets(ctx, topic)
	if err = errors.Join(err, stable.Error()); err != nil {
		return nil, err
	}
	end, _ := stable.Lookup(topic, partition)
	if end.Offset == 0 {
		return nil, nil
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(s.bootstrap), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(0)}}))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var seen []string
	// The last thing in front of the stable end is a marker, or a record outside of any transaction.
	for last := int64(-1); last < end.Offset-1; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("reading %s-%d behind %d of %d: %w", topic, partition, last, end.Offset, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if last = r.Offset; !r.Attrs.IsControl() {
				seen = append(seen, string(r.Value))
			}
		})
	}
	return seen, nil
}
