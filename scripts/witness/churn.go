package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	agedBytes    = 400_000 // retention.bytes of "aged",
	bothBytes    = 100_000 // and of "both".
	nChurned     = 2       // Partitions of each topic.
	nChurnedKeys = 100
)

// The topics of churn: what each loses, and why. Segments are closed by the broker's clock: a round must leave closed ones behind.
var churned = []struct {
	name               string
	compacts, deletes  bool
	hasTransactions    bool
	settings           map[string]string
	recordsOfPartition int // Visible at most once its policy has worked, of 1000 written in a round.
}{
	{"keyed", true, false, false, map[string]string{"cleanup.policy": "compact"}, 350},
	{"marked", true, false, true, map[string]string{"cleanup.policy": "compact"}, 350},
	{"both", true, true, false, map[string]string{"cleanup.policy": "compact,delete", "retention.bytes": strconv.Itoa(bothBytes)}, 350},
	{"aged", false, true, false, map[string]string{"cleanup.policy": "delete", "retention.bytes": strconv.Itoa(agedBytes)}, 0},
}

// written is a record that was acknowledged.
type written struct {
	Offset    int64
	Key       string
	Sum       string // Of the value.
	IsGone    bool   // A tombstone.
	IsAborted bool
}

// past is what was written to a partition, and what was seen of it.
type past struct {
	Start, End int64
	Records    []written
	Visible    int   // At the last look.
	Awaited    int64 // The start when the policies had last worked.
}

type history map[string]*past

// churn writes to topics that are compacted and shrink, remembers it in a file, and checks what is there against that: the newest
// value of every key, nothing gone but by the topic's policy, nothing that was never written.
func churn(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of the broker")
	file := flags.String("state", "", "what was written")
	write := flags.Int("write", 0, "how many records to write to each partition")
	await := flags.Bool("await", false, "wait until the policies have worked")
	_ = flags.Parse(arguments) // ExitOnError
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(*bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	all, err := readHistory(*file)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		if err := createChurned(ctx, admin, all); err != nil {
			return err
		}
	} else if err := all.verify(ctx, *bootstrap, admin); err != nil {
		return err
	}
	if *write > 0 {
		for n := range churned {
			if err := all.write(ctx, *bootstrap, n, *write); err != nil {
				return fmt.Errorf("writing to %s: %w", churned[n].name, err)
			}
		}
	}
	if *await {
		if err := all.await(ctx, *bootstrap, admin); err != nil {
			return err
		}
	}
	all.print()
	bytes, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(*file, bytes, 0o644)
}

func readHistory(file string) (history, error) {
	all := history{}
	bytes, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(bytes, &all)
}

func placeOf(topic string, partition int32) string { return fmt.Sprintf("%s-%d", topic, partition) }

func createChurned(ctx context.Context, admin *kadm.Client, all history) error {
	for _, topic := range churned {
		settings := map[string]*string{}
		for name, value := range map[string]string{"segment.ms": "200", "message.timestamp.type": "LogAppendTime", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "1000", "index.interval.bytes": "1024"} {
			settings[name] = &value
		}
		for name, value := range topic.settings {
			settings[name] = &value
		}
		if _, err := admin.CreateTopic(ctx, nChurned, 1, settings, topic.name); err != nil {
			return err
		}
		for p := range int32(nChurned) {
			all[placeOf(topic.name, p)] = &past{}
		}
	}
	return nil
}

// write appends a round: records in different codecs, over some seconds, and one last record that no policy takes.
func (all history) write(ctx context.Context, bootstrap string, n, nRecords int) error {
	topic := churned[n]
	random := rand.New(rand.NewPCG(rand.Uint64(), uint64(n)))
	const nPacks = 20
	for pack := range nPacks {
		time.Sleep(50 * time.Millisecond)
		options := []kgo.Opt{kgo.ProducerBatchCompression(allCodecs[pack%len(allCodecs)]), kgo.ProducerBatchMaxBytes(16_000)}
		inTransaction := topic.hasTransactions && pack != nPacks-1
		if inTransaction {
			options = append(options, kgo.TransactionalID(fmt.Sprintf("churn-%d", pack%3)))
		}
		var records []*kgo.Record
		for range nRecords / nPacks {
			for p := range int32(nChurned) {
				records = append(records, churnedRecord(random, topic.name, p))
			}
		}
		if pack == nPacks-1 {
			for p := range int32(nChurned) {
				records = append(records, &kgo.Record{Topic: topic.name, Partition: p, Key: []byte("last"), Value: []byte("last")})
			}
		}
		isAborted := inTransaction && pack%4 == 1
		if err := send(ctx, bootstrap, records, options, inTransaction, isAborted); err != nil {
			return err
		}
		for _, r := range records {
			it := all[placeOf(r.Topic, r.Partition)]
			it.Records = append(it.Records, written{r.Offset, string(r.Key), digest(r.Value), r.Value == nil, isAborted})
		}
	}
	return nil
}

func churnedRecord(random *rand.Rand, topic string, partition int32) *kgo.Record {
	r := noise(random, 0)
	r.Topic, r.Partition = topic, partition
	r.Key = fmt.Appendf(nil, "key-%d", random.IntN(nChurnedKeys))
	if random.IntN(15) == 0 {
		r.Value = nil
	}
	return r
}

func send(ctx context.Context, bootstrap string, records []*kgo.Record, options []kgo.Opt, inTransaction, isAborted bool) error {
	options = append(options, kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	producer, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer producer.Close()
	if inTransaction {
		if err := producer.BeginTransaction(); err != nil {
			return err
		}
	}
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	if inTransaction {
		return producer.EndTransaction(ctx, kgo.TransactionEndTry(!isAborted))
	}
	return nil
}

func digest(value []byte) string { return fmt.Sprintf("%x", sha256.Sum256(value))[:16] }

// await looks until every policy has worked.
func (all history) await(ctx context.Context, bootstrap string, admin *kadm.Client) error {
	for deadline := time.Now().Add(2 * patience); ; time.Sleep(500 * time.Millisecond) {
		if err := all.verify(ctx, bootstrap, admin); err != nil {
			return err
		}
		var idle []string
		for _, topic := range churned {
			for p := range int32(nChurned) {
				it := all[placeOf(topic.name, p)]
				if topic.compacts && it.Visible > topic.recordsOfPartition || !topic.compacts && it.Start == it.Awaited {
					idle = append(idle, placeOf(topic.name, p))
				}
			}
		}
		if len(idle) == 0 {
			for _, it := range all {
				it.Awaited = it.Start
			}
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no compaction or retention in time: %s", strings.Join(idle, " "))
		}
	}
}

func (all history) verify(ctx context.Context, bootstrap string, admin *kadm.Client) error {
	for _, topic := range churned {
		for p := range int32(nChurned) {
			it := all[placeOf(topic.name, p)]
			// What is below a start that moved meanwhile could not be read.
			for start := int64(-1); start != it.Start; {
				var end int64
				var err error
				if start, end, err = span(ctx, admin, topic.name, p); err != nil {
					return err
				}
				if err := it.look(ctx, bootstrap, topic.name, p, start, end, topic.compacts, topic.deletes); err != nil {
					now, _, spanErr := span(ctx, admin, topic.name, p)
					if spanErr != nil || now == start {
						return fmt.Errorf("%s: %w", placeOf(topic.name, p), err)
					}
					start = -1
				}
			}
		}
	}
	return leftOfAged(ctx, admin)
}

// span asks where a partition starts and ends.
func span(ctx context.Context, admin *kadm.Client, topic string, partition int32) (start, end int64, err error) {
	starts, err := again(func() (kadm.ListedOffsets, error) {
		listed, err := admin.ListStartOffsets(ctx, topic)
		return listed, errors.Join(err, listed.Error())
	})
	if err != nil {
		return 0, 0, err
	}
	ends, err := again(func() (kadm.ListedOffsets, error) {
		listed, err := admin.ListEndOffsets(ctx, topic)
		return listed, errors.Join(err, listed.Error())
	})
	if err != nil {
		return 0, 0, err
	}
	first, _ := starts.Lookup(topic, partition)
	behind, _ := ends.Lookup(topic, partition)
	return first.Offset, behind.Offset, nil
}

// leftOfAged: retention by size leaves at least that size.
func leftOfAged(ctx context.Context, admin *kadm.Client) error {
	dirs, err := admin.DescribeBrokerLogDirs(ctx, 1, kadm.TopicsSet{"aged": {0: {}, 1: {}}})
	if err != nil {
		return err
	}
	var wrong error
	dirs.EachPartition(func(p kadm.DescribedLogDirPartition) {
		if p.Topic == "aged" && p.Size < agedBytes {
			wrong = fmt.Errorf("aged-%d has %d bytes left, its policy leaves %d", p.Partition, p.Size, agedBytes)
		}
	})
	return wrong
}

func (it *past) look(ctx context.Context, bootstrap, topic string, partition int32, start, end int64, compacts, deletes bool) error {
	if start < it.Start || end < it.End || !deletes && start != 0 {
		return fmt.Errorf("it spans [%d, %d), and spanned [%d, %d)", start, end, it.Start, it.End)
	}
	if n := len(it.Records); n > 0 && it.Records[n-1].Offset >= end {
		return fmt.Errorf("LOST: it ends at %d, offset %d was acknowledged", end, it.Records[n-1].Offset)
	}
	it.Start, it.End = start, end
	seen, err := readAll(ctx, bootstrap, topic, partition, start, end)
	if err != nil {
		return err
	}
	it.Visible = len(seen)
	newest := map[string]int64{}
	for _, w := range it.Records {
		if !w.IsAborted {
			newest[w.Key] = w.Offset
		}
	}
	for _, w := range it.Records {
		r, isThere := seen[w.Offset]
		delete(seen, w.Offset)
		switch {
		case isThere && w.IsAborted:
			return fmt.Errorf("offset %d was aborted and is read", w.Offset)
		case isThere && (string(r.Key) != w.Key || digest(r.Value) != w.Sum || (r.Value == nil) != w.IsGone):
			return fmt.Errorf("offset %d is another record than was written", w.Offset)
		case isThere || w.IsAborted:
		case w.Offset < start:
		case !compacts:
			return fmt.Errorf("LOST: offset %d of [%d, %d)", w.Offset, start, end)
		case newest[w.Key] == w.Offset && !w.IsGone:
			return fmt.Errorf("LOST: offset %d, the newest value of %s", w.Offset, w.Key)
		}
	}
	for offset := range seen {
		return fmt.Errorf("offset %d was never written", offset)
	}
	return nil
}

// readAll reads what is committed. The last record of a round is the last of the log, so that one knows when that is all.
func readAll(ctx context.Context, bootstrap, topic string, partition int32, start, end int64) (map[int64]*kgo.Record, error) {
	seen := map[int64]*kgo.Record{}
	if start >= end {
		return seen, nil
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(start)}}))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	last := int64(-1)
	for last < end-1 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("reading behind %d of [%d, %d): %w", last, start, end, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seen[r.Offset] = r
			last = r.Offset
		})
	}
	return seen, nil
}

// print tells where each partition is, in the words of picture.
func (all history) print() {
	var lines []string
	for at, it := range all {
		lines = append(lines, fmt.Sprintf("offsets %s start=%d end=%d", at, it.Start, it.End))
		fmt.Fprintf(os.Stderr, "%s: [%d, %d), %d written, %d visible\n", at, it.Start, it.End, len(it.Records), it.Visible)
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
}
