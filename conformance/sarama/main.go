// The story of ../README.md, told by Sarama.
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

	"github.com/IBM/sarama"
)

const nPartitions = 4

// patience bounds every wait for the broker; no healthy broker comes near it.
const patience = 60 * time.Second

type codec struct {
	name        string
	compression sarama.CompressionCodec
}

var codecs = []codec{
	{"none", sarama.CompressionNone}, {"gzip", sarama.CompressionGZIP}, {"snappy", sarama.CompressionSnappy},
	{"lz4", sarama.CompressionLZ4}, {"zstd", sarama.CompressionZSTD},
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

func configuration() *sarama.Config {
	config := sarama.NewConfig()
	config.ClientID = "story-sarama"
	config.Version = sarama.MaxVersion
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Return.Errors = true
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	return config
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

func (w *witness) look(message *sarama.ConsumerMessage) {
	w.Lock()
	defer w.Unlock()
	index, err := recognise(message)
	last, known := w.last[message.Partition]
	switch {
	case w.wrong != nil:
		return
	case err != nil:
		w.wrong = err
	case w.seen[index]:
		w.wrong = fmt.Errorf("record %d came twice", index)
	case known && index <= last:
		w.wrong = fmt.Errorf("record %d of partition %d came after %d", index, message.Partition, last)
	}
	if !known {
		w.first[message.Partition] = message.Offset
	}
	w.last[message.Partition] = index
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
func recognise(message *sarama.ConsumerMessage) (int, error) {
	headers := map[string]string{}
	for _, header := range message.Headers {
		headers[string(header.Key)] = string(header.Value)
	}
	at := slices.IndexFunc(codecs, func(c codec) bool { return c.name == headers["codec"] })
	n, err := strconv.Atoi(headers["n"])
	if at < 0 || err != nil || string(message.Value) != text(headers["codec"], n) ||
		string(message.Key) != fmt.Sprintf("user-%d", n%500) {
		return 0, fmt.Errorf("a strange record: %q %q %v", message.Key, message.Value, headers)
	}
	return at*nRecords + n, nil
}

func produce(c codec) error {
	config := configuration()
	config.Producer.Compression = c.compression
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	messages := make([]*sarama.ProducerMessage, nRecords)
	for n := range messages {
		messages[n] = &sarama.ProducerMessage{
			Topic: name, Key: sarama.StringEncoder(fmt.Sprintf("user-%d", n%500)), Value: sarama.StringEncoder(text(c.name, n)),
			Headers: []sarama.RecordHeader{{Key: []byte("codec"), Value: []byte(c.name)}, {Key: []byte("n"), Value: []byte(strconv.Itoa(n))}},
		}
	}
	return errors.Join(producer.SendMessages(messages), producer.Close())
}

// member is one consumer of the group. It looks at records only while its gate is open.
type member struct {
	sync.Mutex
	group   sarama.ConsumerGroup
	session sarama.ConsumerGroupSession
	owns    int
	gate    chan struct{}
	witness *witness
	cancel  context.CancelFunc
	done    chan struct{}
}

func join(gate chan struct{}, w *witness) (*member, error) {
	group, err := sarama.NewConsumerGroup([]string{bootstrap}, name, configuration())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{group: group, gate: gate, witness: w, cancel: cancel, done: make(chan struct{})}
	go func() {
		for err := range group.Errors() {
			fmt.Fprintln(os.Stderr, "member:", err)
		}
	}()
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{name}, m); err != nil {
				fmt.Fprintln(os.Stderr, "member:", err)
				time.Sleep(100 * time.Millisecond)
			}
		}
	}()
	return m, nil
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.Lock()
	defer m.Unlock()
	m.session, m.owns = session, len(session.Claims()[name])
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.Lock()
	defer m.Unlock()
	m.owns = 0
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m.Lock()
	gate := m.gate
	m.Unlock()
	select {
	case <-gate:
	case <-session.Context().Done():
		return nil
	}
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			m.witness.look(message)
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *member) n() int { m.Lock(); defer m.Unlock(); return m.owns }

func (m *member) leave() error {
	m.cancel()
	<-m.done
	return m.group.Close()
}

func main() {
	client, err := sarama.NewClient([]string{bootstrap}, configuration())
	if err != nil {
		fmt.Println("step create: FAIL", err)
		os.Exit(1)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		fmt.Println("step create: FAIL", err)
		os.Exit(1)
	}
	total := len(codecs) * nRecords
	var replayFrom int64
	var a, b *member

	step("create", func() error {
		if err := admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: nPartitions, ReplicationFactor: 1}, false); err != nil {
			return err
		}
		return until("the topic is known", func() bool {
			_ = client.RefreshMetadata(name)
			partitions, _ := client.Partitions(name)
			return len(partitions) == nPartitions
		})
	})
	for _, c := range codecs {
		if c.name == "lz4" {
			time.Sleep(20 * time.Millisecond)
			replayFrom = time.Now().UnixMilli()
		}
		step("produce-"+c.name, func() error { return produce(c) })
	}
	gate, w := make(chan struct{}), newWitness()
	step("read", func() (err error) {
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
		b.Lock()
		b.gate = make(chan struct{}) // The survivor only has to own the partitions.
		b.Unlock()
		if err := a.leave(); err != nil {
			return err
		}
		return until("all partitions at the survivor", func() bool { return b.n() == nPartitions })
	})
	middle, rest := map[int32]int64{}, 0
	step("commit", func() error {
		b.Lock()
		session := b.session
		b.Unlock()
		for p := int32(0); p < nPartitions; p++ {
			end, err := client.GetOffset(name, p, sarama.OffsetNewest)
			if err != nil {
				return err
			}
			middle[p] = end / 2
			rest += int(end - end/2)
			session.MarkOffset(name, p, middle[p], "half")
		}
		session.Commit()
		committed, err := admin.ListConsumerGroupOffsets(name, map[string][]int32{name: {0, 1, 2, 3}})
		if err != nil {
			return err
		}
		for p, offset := range middle {
			if block := committed.GetBlock(name, p); block == nil || block.Offset != offset || block.Metadata != "half" {
				return fmt.Errorf("partition %d: %+v is committed instead of %d", p, block, offset)
			}
		}
		return nil
	})
	step("resume", func() (err error) {
		if err = b.leave(); err != nil {
			return err
		}
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
	step("replay", func() error { return replay(client, replayFrom) })
	step("list-topics", func() error {
		topics, err := admin.ListTopics()
		if _, found := topics[name]; err == nil && !found {
			return fmt.Errorf("not in %v", topics)
		}
		return err
	})
	step("list-groups", func() error {
		groups, err := admin.ListConsumerGroups()
		if groups[name] != "consumer" && err == nil {
			return fmt.Errorf("not in %v", groups)
		}
		return err
	})
	step("describe-topic", func() error {
		topics, err := admin.DescribeTopics([]string{name})
		if err == nil && (len(topics) != 1 || len(topics[0].Partitions) != nPartitions) {
			return fmt.Errorf("described as %+v", topics)
		}
		return err
	})
	step("describe-group", func() error {
		groups, err := admin.DescribeConsumerGroups([]string{name})
		if err != nil {
			return err
		}
		if len(groups) != 1 || groups[0].State != "Stable" || len(groups[0].Members) != 1 {
			return fmt.Errorf("described as %+v", groups[0])
		}
		for _, member := range groups[0].Members {
			assignment, err := member.GetMemberAssignment()
			if err != nil || len(assignment.Topics[name]) != nPartitions {
				return fmt.Errorf("assigned %+v %w", assignment, err)
			}
		}
		return nil
	})
	step("delete-group", func() error {
		if err := errors.Join(a.leave(), admin.DeleteConsumerGroup(name)); err != nil {
			return err
		}
		groups, err := admin.ListConsumerGroups()
		if _, found := groups[name]; found {
			return errors.New("still listed")
		}
		return err
	})
	step("delete-topic", func() error {
		if err := admin.DeleteTopic(name); err != nil {
			return err
		}
		return until("the topic is gone", func() bool {
			topics, err := admin.ListTopics()
			_, found := topics[name]
			return err == nil && !found
		})
	})
}

// replay reads everything since a moment, which is what the last two codecs wrote.
func replay(client sarama.Client, from int64) error {
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	w := newWitness()
	for p := int32(0); p < nPartitions; p++ {
		offset, err := client.GetOffset(name, p, from)
		if err != nil {
			return err
		}
		partition, err := consumer.ConsumePartition(name, p, offset)
		if err != nil {
			return err
		}
		defer partition.AsyncClose()
		go func() {
			for message := range partition.Messages() {
				if message.Timestamp.UnixMilli() < from {
					w.Lock()
					w.wrong = fmt.Errorf("a record of %v, before the moment", message.Timestamp)
					w.Unlock()
				}
				w.look(message)
			}
		}()
	}
	return w.await(2 * nRecords)
}
