// The story of ../README.md, told by franz-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const nPartitions = 4

// patience bounds every wait for the broker; no healthy broker comes near it.
const patience = 60 * time.Second

type codec struct {
	name        string
	compression kgo.CompressionCodec
}

var codecs = []codec{
	{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
	{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
}

var (
	bootstrap   = os.Getenv("BOOTSTRAP")
	name        = os.Getenv("STORY")
	nRecords, _ = strconv.Atoi(os.Getenv("RECORDS"))
)

// step prints the one line per step that run.sh reads; the story ends with the first failure.
func step(name string, run func() error) {
	if err := run(); err != nil {
		fmt.Printf("step %s: FAIL %v\n", name, err)
		os.Exit(1)
	}
	fmt.Printf("step %s: ok\n", name)
}

func client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap), kgo.ClientID("story-franz-go"))...)
}

func until(what string, holds func() bool) error {
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("timed out: " + what)
		}
	}
	return nil
}

// witness checks what is read: contents whole, order kept in each partition, nothing twice.
type witness struct {
	sync.Mutex
	last  map[int32]int
	first map[int32]int64
	seen  map[int]bool
	wrong error
}

func newWitness() *witness {
	return &witness{last: map[int32]int{}, first: map[int32]int64{}, seen: map[int]bool{}}
}

func (w *witness) look(record *kgo.Record) {
	w.Lock()
	defer w.Unlock()
	index, err := recognise(record)
	last, known := w.last[record.Partition]
	switch {
	case w.wrong != nil:
		return
	case err != nil:
		w.wrong = err
	case w.seen[index]:
		w.wrong = fmt.Errorf("record %d came twice", index)
	case known && index <= last:
		w.wrong = fmt.Errorf("record %d of partition %d came after %d", index, record.Partition, last)
	}
	if !known {
		w.first[record.Partition] = record.Offset
	}
	w.last[record.Partition] = index
	w.seen[index] = true
}

func (w *witness) await(n int) error {
	reached := func() bool { w.Lock(); defer w.Unlock(); return w.wrong != nil || len(w.seen) >= n }
	late := until(fmt.Sprintf("%d records", n), reached)
	w.Lock()
	defer w.Unlock()
	if w.wrong == nil && late != nil {
		return fmt.Errorf("%w, %d came", late, len(w.seen))
	}
	if w.wrong == nil && len(w.seen) != n {
		return fmt.Errorf("%d records instead of %d", len(w.seen), n)
	}
	return w.wrong
}

func text(codec string, n int) string {
	return fmt.Sprintf("%s %d the quick brown fox jumps over the lazy dog", codec, n)
}

// recognise gives the place of a record in the whole story.
func recognise(record *kgo.Record) (int, error) {
	headers := map[string]string{}
	for _, header := range record.Headers {
		headers[header.Key] = string(header.Value)
	}
	at := slices.IndexFunc(codecs, func(c codec) bool { return c.name == headers["codec"] })
	n, err := strconv.Atoi(headers["n"])
	if at < 0 || err != nil || string(record.Value) != text(headers["codec"], n) || string(record.Key) != fmt.Sprintf("user-%d", n%500) {
		return 0, fmt.Errorf("a strange record: %q %q %v", record.Key, record.Value, headers)
	}
	return at*nRecords + n, nil
}

func produce(c codec) error {
	producer, err := client(kgo.ProducerBatchCompression(c.compression), kgo.RecordDeliveryTimeout(patience))
	if err != nil {
		return err
	}
	defer producer.Close()
	records := make([]*kgo.Record, nRecords)
	for n := range records {
		records[n] = &kgo.Record{
			Topic: name, Key: fmt.Appendf(nil, "user-%d", n%500), Value: []byte(text(c.name, n)),
			Headers: []kgo.RecordHeader{{Key: "codec", Value: []byte(c.name)}, {Key: "n", Value: []byte(strconv.Itoa(n))}},
		}
	}
	return producer.ProduceSync(context.Background(), records...).FirstErr()
}

// member is one consumer of the group. It polls only while its gate is open.
type member struct {
	sync.Mutex
	client *kgo.Client
	owns   map[int32]bool
	cancel context.CancelFunc
	done   chan struct{}
}

func join(gate chan struct{}, w *witness) (m *member, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	m = &member{owns: map[int32]bool{}, cancel: cancel, done: make(chan struct{})}
	gain := func(_ context.Context, _ *kgo.Client, topics map[string][]int32) { m.own(topics[name], true) }
	lose := func(_ context.Context, _ *kgo.Client, topics map[string][]int32) { m.own(topics[name], false) }
	m.client, err = client(kgo.ConsumerGroup(name), kgo.ConsumeTopics(name), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(gain), kgo.OnPartitionsRevoked(lose), kgo.OnPartitionsLost(lose))
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(m.done)
		select {
		case <-gate:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			m.client.PollFetches(ctx).EachRecord(w.look)
		}
	}()
	return m, nil
}

func (m *member) own(partitions []int32, owned bool) {
	m.Lock()
	defer m.Unlock()
	for _, p := range partitions {
		delete(m.owns, p)
		if owned {
			m.owns[p] = true
		}
	}
}

func (m *member) n() int { m.Lock(); defer m.Unlock(); return len(m.owns) }

// pause ends the polling; the member stays in the group.
func (m *member) pause() { m.cancel(); <-m.done }

func (m *member) leave() { m.pause(); m.client.Close() }

func main() {
	ctx := context.Background()
	plain, err := client()
	if err != nil {
		fmt.Println("step create: FAIL", err)
		os.Exit(1)
	}
	admin := kadm.NewClient(plain)
	total := len(codecs) * nRecords
	var replayFrom int64
	var a, b *member

	step("create", func() error {
		_, err := admin.CreateTopic(ctx, nPartitions, 1, nil, name)
		return err
	})
	for _, c := range codecs {
		if c.name == "lz4" {
			time.Sleep(20 * time.Millisecond)
			replayFrom = time.Now().UnixMilli()
		}
		step("produce-"+c.name, func() error { return produce(c) })
	}
	step("read", func() (err error) {
		gate, w := make(chan struct{}), newWitness()
		if a, err = join(gate, w); err != nil {
			return err
		}
		if b, err = join(gate, w); err != nil {
			return err
		}
		if err := until("two partitions each", func() bool { return a.n() == 2 && b.n() == 2 }); err != nil {
			return err
		}
		close(gate)
		return w.await(total)
	})
	step("move", func() error {
		b.pause()
		a.leave()
		return until("all partitions at the survivor", func() bool { return b.n() == nPartitions })
	})
	middle, rest := map[int32]int64{}, 0
	step("commit", func() error {
		ends, err := admin.ListEndOffsets(ctx, name)
		if err != nil {
			return err
		}
		commit := map[int32]kgo.EpochOffset{}
		ends.Each(func(end kadm.ListedOffset) {
			middle[end.Partition] = end.Offset / 2
			rest += int(end.Offset - end.Offset/2)
			commit[end.Partition] = kgo.EpochOffset{Epoch: -1, Offset: end.Offset / 2}
		})
		if err := commitAs(ctx, b.client, commit); err != nil {
			return err
		}
		committed, err := admin.FetchOffsets(ctx, name)
		if err != nil {
			return err
		}
		for p, offset := range middle {
			if got, found := committed.Lookup(name, p); !found || got.At != offset {
				return fmt.Errorf("partition %d: %+v is committed instead of %d", p, got, offset)
			}
		}
		return nil
	})
	step("resume", func() (err error) {
		b.leave()
		open, w := make(chan struct{}), newWitness()
		close(open)
		if a, err = join(open, w); err != nil {
			return err
		}
		if err := w.await(rest); err != nil {
			return err
		}
		for p, offset := range middle {
			if w.first[p] != offset {
				return fmt.Errorf("partition %d resumed at %d instead of %d", p, w.first[p], offset)
			}
		}
		return nil
	})
	step("replay", func() error { return replay(ctx, admin, replayFrom) })
	step("list-topics", func() error {
		topics, err := admin.ListTopics(ctx)
		if err == nil && !topics.Has(name) {
			return fmt.Errorf("not in %v", topics.Names())
		}
		return err
	})
	step("list-groups", func() error {
		groups, err := admin.ListGroups(ctx)
		if err == nil && groups[name].ProtocolType != "consumer" {
			return fmt.Errorf("not in %v", groups.Groups())
		}
		return err
	})
	step("describe-topic", func() error {
		topics, err := admin.ListTopics(ctx, name)
		if err == nil && len(topics[name].Partitions) != nPartitions {
			return fmt.Errorf("described as %+v", topics[name])
		}
		return err
	})
	step("describe-group", func() error {
		groups, err := admin.DescribeGroups(ctx, name)
		if err != nil {
			return err
		}
		group := groups[name]
		if group.State != "Stable" || len(group.Members) != 1 || len(group.AssignedPartitions()[name]) != nPartitions {
			return fmt.Errorf("described as %+v", group)
		}
		return nil
	})
	step("delete-group", func() error {
		a.leave()
		if _, err := admin.DeleteGroup(ctx, name); err != nil {
			return err
		}
		groups, err := admin.ListGroups(ctx)
		if _, found := groups[name]; found {
			return errors.New("still listed")
		}
		return err
	})
	step("delete-topic", func() error {
		if _, err := admin.DeleteTopic(ctx, name); err != nil {
			return err
		}
		return until("the topic is gone", func() bool {
			topics, err := admin.ListTopics(ctx)
			return err == nil && !topics.Has(name)
		})
	})
}

// commitAs commits as the member itself: with its generation and member id.
func commitAs(ctx context.Context, c *kgo.Client, offsets map[int32]kgo.EpochOffset) (failure error) {
	answered := func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
		if failure = err; err != nil {
			return
		}
		for _, topic := range response.Topics {
			for _, partition := range topic.Partitions {
				failure = errors.Join(failure, kerr.ErrorForCode(partition.ErrorCode))
			}
		}
	}
	c.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{name: offsets}, answered)
	return failure
}

// replay reads everything since a moment, which is what the last two codecs wrote.
func replay(ctx context.Context, admin *kadm.Client, from int64) error {
	offsets, err := admin.ListOffsetsAfterMilli(ctx, from, name)
	if err != nil {
		return err
	}
	starts := map[int32]kgo.Offset{}
	offsets.Each(func(o kadm.ListedOffset) { starts[o.Partition] = kgo.NewOffset().At(o.Offset) })
	reader, err := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: starts}))
	if err != nil {
		return err
	}
	defer reader.Close()
	w := newWitness()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for read := 0; read < 2*nRecords && ctx.Err() == nil; {
		reader.PollFetches(ctx).EachRecord(func(record *kgo.Record) {
			if record.Timestamp.UnixMilli() < from {
				w.wrong = fmt.Errorf("a record of %v, before the moment", record.Timestamp)
			}
			w.look(record)
			read++
		})
	}
	return w.await(2 * nRecords)
}
