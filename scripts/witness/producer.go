package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// producer writes numbered records to every partition in turn, idempotent and with acks=all, and retries until they are acknowledged.
type producer struct {
	id           int
	client       *kgo.Client
	produced     atomic.Int64
	acknowledged atomic.Int64
	wire         atomic.Int64 // Bytes of Produce requests written and not answered.
	places       []*place
	next         []int64 // By place.
	failure      atomic.Pointer[error]
	halt         atomic.Bool
	running      sync.WaitGroup
}

func newProducer(id int, bootstrap string, places []*place) (*producer, error) {
	p := &producer{id: id, places: places, next: make([]int64, len(places))}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap), kgo.ClientID(fmt.Sprintf("killed-%d", id)),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(32<<10), kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(4000), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.WithHooks(p))
	p.client = client
	return p, err
}

// OnBrokerWrite and OnBrokerE2E are franz-go's hooks around a request.
func (p *producer) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, bytes int, _, _ time.Duration, err error) {
	if key == 0 && err == nil {
		p.wire.Add(int64(bytes))
	}
}

func (p *producer) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key == 0 && e2e.WriteErr == nil {
		p.wire.Add(-int64(e2e.BytesWritten))
	}
}

func (p *producer) resume() {
	p.halt.Store(false)
	p.running.Add(1)
	go func() {
		defer p.running.Done()
		for at := 0; !p.halt.Load(); at = (at + 1) % len(p.places) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			p.one(ctx, at)
			cancel()
		}
	}()
}

// one produces a record if the buffer has room for it soon.
func (p *producer) one(ctx context.Context, at int) {
	if p.client.BufferedProduceRecords() >= 3900 {
		<-ctx.Done()
		return
	}
	p.produce(at)
}

func (p *producer) produce(at int) {
	place, number := p.places[at], p.next[at]
	p.next[at]++
	p.produced.Add(1)
	p.client.Produce(context.Background(), place.record(p.id, at, number), func(record *kgo.Record, err error) {
		if err != nil {
			p.failure.CompareAndSwap(nil, &err)
			return
		}
		if place.hasPolicy() {
			place.acknowledged(string(record.Key), mark{p.id, number, record.Offset})
		}
		p.acknowledged.Add(1)
	})
}

// seal ends each place that has a policy with a record that stays: who reads it has read everything.
func (p *producer) seal() error {
	for at, place := range p.places {
		for more := place.hasPolicy(); more; {
			more = isDeletion(p.next[at])
			p.produce(at)
		}
	}
	return p.drain()
}

func (p *producer) pause() {
	p.halt.Store(true)
	p.running.Wait()
}

// reconnected forgets what the dead connections still owed.
func (p *producer) reconnected() { p.wire.Store(0) }

// drain waits until everything is acknowledged: what the dead broker had not answered is sent again by the client.
func (p *producer) drain() error {
	err := until("the unacknowledged records are acknowledged after the restart", func() bool {
		return p.failure.Load() != nil || p.acknowledged.Load() == p.produced.Load()
	})
	if failure := p.failure.Load(); failure != nil {
		return fmt.Errorf("producer %d: %w", p.id, *failure)
	}
	return err
}
