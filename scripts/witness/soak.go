package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The topics of a soak. All of them reach a steady size within the first minutes: what grows after that is the broker.
var soaked = map[string]map[string]string{
	"soak-aged":      {"retention.bytes": "4194304", "segment.bytes": "1048576", "file.delete.delay.ms": "1000"},
	"soak-compacted": {"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.1", "delete.retention.ms": "1000"},
	"soak-moved":     {"retention.bytes": "4194304", "segment.bytes": "1048576", "file.delete.delay.ms": "1000"},
}

const (
	soakPartitions = 8
	soakKeys       = 2000
	soakTick       = 20 * time.Millisecond
)

// soaking is a mixed load that goes on until its context ends, and what it has done.
type soaking struct {
	bootstrap                                            string
	written, read, committed, aborted, moved, made, join atomic.Int64
	failure                                              atomic.Pointer[error]
	running                                              sync.WaitGroup
}

// soak puts a broker under the same mixed load for a long time and says whether it takes more memory, descriptors or threads at the
// end than after the first part of it.
func soak(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of the broker")
	pid := flags.Int("pid", 0, "its process")
	length := flags.Duration("for", 30*time.Minute, "how long")
	settled := flags.Duration("settled", 5*time.Minute, "when it is measured first")
	tolerance := flags.Float64("tolerance", 0.05, "by how much the two measurements may differ")
	_ = flags.Parse(arguments) // ExitOnError
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &soaking{bootstrap: *bootstrap}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	for n := range 4 {
		s.resume(ctx, func(ctx context.Context) error { return s.write(ctx, n) })
	}
	for range 2 {
		s.resume(ctx, s.follow)
	}
	for _, chore := range []func(context.Context) error{s.writeKeys, s.rejoin, s.transact, s.makeTopics, s.reconnect} {
		s.resume(ctx, chore)
	}
	early, late, err := s.watch(*pid, *length, *settled)
	cancel()
	s.running.Wait()
	fmt.Printf("%d records written, %d read, %d transactions committed and %d aborted, %d records moved, %d topics made and deleted, %d consumers joined and left\n",
		s.written.Load(), s.read.Load(), s.committed.Load(), s.aborted.Load(), s.moved.Load(), s.made.Load(), s.join.Load())
	if err != nil {
		return err
	}
	return early.compare(late, *tolerance)
}

func (s *soaking) prepare(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	for name, settings := range soaked {
		values := map[string]*string{}
		for setting, value := range settings {
			values[setting] = &value
		}
		if _, err := kadm.NewClient(client).CreateTopic(ctx, soakPartitions, 1, values, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *soaking) resume(ctx context.Context, chore func(context.Context) error) {
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		if err := chore(ctx); err != nil && ctx.Err() == nil {
			s.failure.CompareAndSwap(nil, &err)
		}
	}()
}

// every runs a step at an interval until the load ends.
func every(ctx context.Context, interval time.Duration, step func() error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := step(); err != nil {
				return err
			}
		}
	}
}

func blob(random *rand.Rand) []byte {
	value := make([]byte, 1024)
	for at := 0; at < len(value)/2; at += 8 {
		binary.BigEndian.PutUint64(value[at:], random.Uint64())
	}
	return value
}

// write is one idempotent producer of some 1,000 records a second, each with a codec of its own.
func (s *soaking) write(ctx context.Context, n int) error {
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(), kgo.SnappyCompression()}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.bootstrap), kgo.DefaultProduceTopic("soak-aged"), kgo.ProducerBatchCompression(codecs[n%len(codecs)]))
	if err != nil {
		return err
	}
	defer client.Close()
	random := rand.New(rand.NewPCG(uint64(n), 1))
	return every(ctx, soakTick, func() error {
		for range 20 {
			client.Produce(ctx, &kgo.Record{Value: blob(random)}, s.wrote)
		}
		return nil
	})
}

func (s *soaking) wrote(_ *kgo.Record, err error) {
	if err == nil {
		s.written.Add(1)
	} else if !strings.Contains(err.Error(), "context canceled") && !strings.Contains(err.Error(), "client closed") {
		s.failure.CompareAndSwap(nil, &err)
	}
}

// writeKeys keeps the cleaner at work.
func (s *soaking) writeKeys(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.bootstrap), kgo.DefaultProduceTopic("soak-compacted"))
	if err != nil {
		return err
	}
	defer client.Close()
	random := rand.New(rand.NewPCG(5, 5))
	return every(ctx, soakTick, func() error {
		for range 10 {
			client.Produce(ctx, &kgo.Record{Key: fmt.Appendf(nil, "key-%d", random.IntN(soakKeys)), Value: blob(random)}, s.wrote)
		}
		return nil
	})
}

func (s *soaking) consume(ctx context.Context, client *kgo.Client) error {
	for ctx.Err() == nil {
		fetches := client.PollRecords(ctx, 1000)
		for _, fault := range fetches.Errors() {
			// Retention may overtake who has just joined.
			if ctx.Err() == nil && !strings.Contains(fault.Err.Error(), "OFFSET_OUT_OF_RANGE") {
				return fault.Err
			}
		}
		s.read.Add(int64(fetches.NumRecords()))
	}
	return nil
}

// follow is a member of a group that stays.
func (s *soaking) follow(ctx context.Context) error {
	client, err := s.member("soak-followers", "soak-aged", "soak-compacted")
	if err != nil {
		return err
	}
	defer client.Close()
	return s.consume(ctx, client)
}

func (s *soaking) member(group string, topics ...string) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(s.bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...), kgo.AutoCommitInterval(time.Second))
}

// rejoin is a member of the same group that leaves after some seconds and comes back.
func (s *soaking) rejoin(ctx context.Context) error {
	return every(ctx, 2*time.Second, func() error {
		client, err := s.member("soak-followers", "soak-aged", "soak-compacted")
		if err != nil {
			return err
		}
		defer client.Close()
		stay, leave := context.WithTimeout(ctx, 8*time.Second)
		defer leave()
		s.join.Add(1)
		return s.consume(stay, client)
	})
}

// transact moves records from one topic to another, exactly once; every fifth transaction is aborted.
func (s *soaking) transact(ctx context.Context) error {
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(s.bootstrap), kgo.TransactionalID("soak-mover"), kgo.ConsumerGroup("soak-movers"),
		kgo.ConsumeTopics("soak-aged"), kgo.DefaultProduceTopic("soak-moved"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets())
	if err != nil {
		return err
	}
	defer session.Close()
	n := 0
	return every(ctx, 100*time.Millisecond, func() error {
		fetches := session.PollRecords(ctx, 200)
		if ctx.Err() != nil || fetches.NumRecords() == 0 {
			return nil
		}
		if err := session.Begin(); err != nil {
			return err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			session.Produce(ctx, &kgo.Record{Value: record.Value}, func(_ *kgo.Record, err error) {})
		})
		n++
		committed, err := session.End(ctx, kgo.TransactionEndTry(n%5 > 0))
		switch {
		case err != nil:
			return fmt.Errorf("transaction %d: %w", n, err)
		case committed:
			s.committed.Add(1)
			s.moved.Add(int64(fetches.NumRecords()))
		default:
			s.aborted.Add(1)
		}
		return nil
	})
}

// makeTopics makes a topic, writes to it and deletes it again.
func (s *soaking) makeTopics(ctx context.Context) error {
	return every(ctx, 3*time.Second, func() error {
		name := fmt.Sprintf("soak-made-%d", s.made.Add(1))
		// Without a producer id: those are remembered for a day, which is not what is looked for.
		client, err := kgo.NewClient(kgo.SeedBrokers(s.bootstrap), kgo.DefaultProduceTopic(name), kgo.DisableIdempotentWrite())
		if err != nil {
			return err
		}
		defer client.Close()
		admin := kadm.NewClient(client)
		if _, err := admin.CreateTopic(ctx, 3, 1, nil, name); err != nil {
			return err
		}
		for range 30 {
			if err := client.ProduceSync(ctx, &kgo.Record{Value: []byte(name)}).FirstErr(); err != nil {
				return err
			}
		}
		_, err = admin.DeleteTopic(ctx, name)
		return err
	})
}

// reconnect opens connections, asks something on each, and closes them.
func (s *soaking) reconnect(ctx context.Context) error {
	return every(ctx, time.Second, func() error {
		for range 10 {
			client, err := kgo.NewClient(kgo.SeedBrokers(s.bootstrap))
			if err != nil {
				return err
			}
			err = client.Ping(ctx)
			client.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// taken is what a process holds: means over a while.
type taken struct{ memoryKiB, descriptors, threads float64 }

// looks is how many samples make a measurement, lookInterval how far apart they are.
const (
	looks        = 30
	lookInterval = time.Second
)

func (s *soaking) watch(pid int, length, settled time.Duration) (early, late taken, err error) {
	span := looks * lookInterval
	began := time.Now()
	for minute := 1; ; minute++ {
		for next := began.Add(time.Duration(minute) * time.Minute); time.Now().Before(next) && time.Since(began) < length; {
			if failed := s.failure.Load(); failed != nil {
				return early, late, *failed
			}
			elapsed := time.Since(began)
			if isEarly := early == (taken{}) && elapsed >= settled-span; isEarly || elapsed >= length-span {
				now, err := measure(pid)
				if err != nil {
					return early, late, err
				}
				if isEarly {
					early = now
				} else {
					late = now
				}
				continue
			}
			time.Sleep(100 * time.Millisecond)
		}
		now, err := look(pid)
		if err != nil {
			return early, late, err
		}
		fmt.Printf("%3d min: %.1f MiB, %.0f descriptors, %.0f threads; %d records written, %d read\n",
			minute, now.memoryKiB/1024, now.descriptors, now.threads, s.written.Load(), s.read.Load())
		if time.Since(began) >= length {
			return early, late, nil
		}
	}
}

func measure(pid int) (mean taken, err error) {
	for range looks {
		now, err := look(pid)
		if err != nil {
			return mean, err
		}
		mean.memoryKiB += now.memoryKiB / looks
		mean.descriptors += now.descriptors / looks
		mean.threads += now.threads / looks
		time.Sleep(lookInterval)
	}
	return mean, nil
}

func look(pid int) (now taken, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return now, fmt.Errorf("the broker is gone: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %f", &now.memoryKiB)
		_, _ = fmt.Sscanf(line, "Threads: %f", &now.threads)
	}
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	now.descriptors = float64(len(descriptors))
	return now, err
}

// compare fails if the broker holds more late than early; less is no fault.
func (early taken) compare(late taken, tolerance float64) error {
	var grown []string
	for _, it := range []struct {
		what, unit  string
		early, late float64
	}{
		{"memory", " MiB", early.memoryKiB / 1024, late.memoryKiB / 1024},
		{"descriptors", "", early.descriptors, late.descriptors},
		{"threads", "", early.threads, late.threads},
	} {
		fmt.Printf("%s: %.1f%s early, %.1f%s late (%+.1f %%)\n", it.what, it.early, it.unit, it.late, it.unit, 100*(it.late/it.early-1))
		if it.late > it.early*(1+tolerance) {
			grown = append(grown, it.what)
		}
	}
	if len(grown) > 0 {
		return fmt.Errorf("more than %.0f %% more: %s", 100*tolerance, strings.Join(grown, ", "))
	}
	return nil
}
