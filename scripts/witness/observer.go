package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// customer writes numbered orders, never far ahead of the invoices.
type customer struct {
	client       *kgo.Client
	next         []int64 // By partition.
	produced     atomic.Int64
	acknowledged atomic.Int64
	failure      atomic.Pointer[error]
	halt         atomic.Bool
	running      sync.WaitGroup
}

func newCustomer(bootstrap string, nPartitions int) (*customer, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ClientID("customer"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(16<<10), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	return &customer{client: client, next: make([]int64, nPartitions)}, err
}

func (c *customer) resume(nSeen func() int64) {
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		for p := 0; !c.halt.Load(); p = (p + 1) % len(c.next) {
			for c.produced.Load()-nSeen() >= aheadMax && !c.halt.Load() {
				time.Sleep(5 * time.Millisecond)
			}
			c.order(p)
		}
	}()
}

func (c *customer) order(p int) {
	record := kgo.StringRecord(value(0, p, c.next[p]))
	record.Topic, record.Partition = orders, int32(p)
	c.next[p]++
	c.produced.Add(1)
	c.client.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
		if err != nil {
			c.failure.CompareAndSwap(nil, &err)
			return
		}
		c.acknowledged.Add(1)
	})
}

// finish gives back how many orders each partition has.
func (c *customer) finish() ([]int64, error) {
	c.halt.Store(true)
	c.running.Wait()
	defer c.client.Close()
	err := until("all orders are acknowledged", func() bool {
		return c.failure.Load() != nil || c.acknowledged.Load() == c.produced.Load()
	})
	return c.next, err
}

// observer reads invoices as they come. One of committed records expects each order's number once and in order; one of everything
// counts what was written besides.
type observer struct {
	client     *kgo.Client
	everything bool
	seen       atomic.Int64
	nDoomed    int64 // Of transactions that copiers aborted.
	nBesides   int64 // Written once more after that, or to be written once more.
	lock       sync.Mutex
	next       []int64 // Number expected next, by partition.
	offset     []int64 // Behind the last record.
	failure    atomic.Pointer[error]
	cancel     context.CancelFunc
	running    sync.WaitGroup
}

func newObserver(bootstrap string, nPartitions int, isolation kgo.IsolationLevel) (*observer, error) {
	starts := map[int32]kgo.Offset{}
	for p := range nPartitions {
		starts[int32(p)] = kgo.NewOffset().At(0)
	}
	// Markers are kept: they say how far a partition has been read.
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ClientID("observer"), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{invoices: starts}), kgo.FetchIsolationLevel(isolation),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	return &observer{client: client, next: make([]int64, nPartitions), offset: make([]int64, nPartitions)}, err
}

func (o *observer) follow(ctx context.Context) {
	ctx, o.cancel = context.WithCancel(ctx)
	o.running.Add(1)
	go func() {
		defer o.running.Done()
		for ctx.Err() == nil && o.failure.Load() == nil {
			// What goes wrong with a fetch is tried again by the client: the broker is away now and then.
			o.client.PollFetches(ctx).EachRecord(func(record *kgo.Record) {
				if err := o.look(record); err != nil {
					o.failure.CompareAndSwap(nil, &err)
				}
			})
		}
	}()
}

func (o *observer) stop() {
	o.cancel()
	o.running.Wait()
	o.client.Close()
}

func (o *observer) look(record *kgo.Record) error {
	o.lock.Lock()
	defer o.lock.Unlock()
	p := int(record.Partition)
	if record.Offset < o.offset[p] {
		return fmt.Errorf("DUPLICATE: partition %d went back from offset %d to %d", p, o.offset[p], record.Offset)
	}
	o.offset[p] = record.Offset + 1
	if record.Attrs.IsControl() {
		return nil
	}
	words := strings.Fields(string(record.Value))
	if len(words) != 4 {
		return fmt.Errorf("a strange record at %d of partition %d", record.Offset, p)
	}
	number, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil || string(record.Value) != value(0, p, number) {
		return fmt.Errorf("a strange record at %d of partition %d", record.Offset, p)
	}
	isDoomed := len(record.Headers) == 1 && record.Headers[0].Key == doomed
	expected := o.next[p]
	o.seen.Add(1)
	switch {
	case o.everything && isDoomed:
		o.nDoomed++
	case o.everything && number < expected:
		// It was written before by a transaction that came to nothing, or is written in vain now.
		o.nBesides++
	case o.everything:
		o.next[p] = number + 1
	case isDoomed:
		return fmt.Errorf("ABORTED: partition %d offset %d has number %d of a transaction that was aborted", p, record.Offset, number)
	case number < expected:
		return fmt.Errorf("DUPLICATE: partition %d offset %d has number %d again, %d is due", p, record.Offset, number, expected)
	case number > expected:
		return fmt.Errorf("LOST: partition %d offset %d has number %d, %d is due", p, record.Offset, number, expected)
	default:
		o.next[p]++
	}
	return nil
}

// reached: the number behind the last one is the given one, in every partition.
func (o *observer) reached(written []int64) bool {
	numbers := o.numbers()
	for p, n := range written {
		if numbers[p] != n {
			return false
		}
	}
	return true
}

func (o *observer) numbers() []int64 {
	o.lock.Lock()
	defer o.lock.Unlock()
	return append([]int64(nil), o.next...)
}

// isAt: everything before the ends has been read, the markers too.
func (o *observer) isAt(ends kadm.ListedOffsets) bool {
	o.lock.Lock()
	defer o.lock.Unlock()
	for p, at := range o.offset {
		if end, _ := ends.Lookup(invoices, int32(p)); at < end.Offset {
			return false
		}
	}
	return true
}
