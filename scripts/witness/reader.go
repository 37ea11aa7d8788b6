package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reader goes through the partitions without a group and expects each producer's numbers, one by one.
type reader struct {
	fleet  []*producer
	offset []int64             // Next to read.
	next   [][nProducers]int64 // Number expected next.
}

// newReader: the partitions of the plain topic are the first places of the fleet.
func newReader(fleet []*producer, nPartitions int) *reader {
	return &reader{fleet: fleet, offset: make([]int64, nPartitions), next: make([][nProducers]int64, nPartitions)}
}

// verify reads on to the end and checks that everything acknowledged is there once and in order. Nothing is in flight meanwhile.
func (r *reader) verify(ctx context.Context, bootstrap string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	starts := map[int32]kgo.Offset{}
	for p := range r.offset {
		starts[int32(p)] = kgo.NewOffset().At(r.offset[p])
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}),
		kgo.FetchMaxWait(100_000_000), kgo.FetchMaxPartitionBytes(4<<20))
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	complete := func() bool {
		for p := range r.offset {
			if end, _ := ends.Lookup(topic, int32(p)); r.offset[p] < end.Offset {
				return false
			}
		}
		return true
	}
	for !complete() {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("reading at %v: %w", r.offset, err)
		}
		var wrong error
		fetches.EachError(func(_ string, p int32, err error) { wrong = fmt.Errorf("reading partition %d: %w", p, err) })
		fetches.EachRecord(func(record *kgo.Record) {
			if wrong == nil {
				wrong = r.look(record)
			}
		})
		if wrong != nil {
			return wrong
		}
	}
	for p := range r.next {
		for i, producer := range r.fleet {
			if r.next[p][i] != producer.next[p] {
				return fmt.Errorf("LOST: partition %d has producer %d up to %d, %d were acknowledged", p, i, r.next[p][i], producer.next[p])
			}
		}
	}
	return nil
}

func (r *reader) look(record *kgo.Record) error {
	words := strings.Fields(string(record.Value))
	if len(words) != 4 {
		return fmt.Errorf("a strange record at %d of partition %d", record.Offset, record.Partition)
	}
	producer, _ := strconv.Atoi(words[0])
	partition, _ := strconv.Atoi(words[1])
	number, err := strconv.ParseInt(words[2], 10, 64)
	p := int(record.Partition)
	if err != nil || partition != p || producer >= nProducers || string(record.Value) != value(producer, p, number) {
		return fmt.Errorf("a strange record at %d of partition %d", record.Offset, p)
	}
	switch expected := r.next[p][producer]; {
	case number < expected:
		return fmt.Errorf("DUPLICATE: partition %d offset %d has number %d of producer %d again", p, record.Offset, number, producer)
	case number > expected:
		return fmt.Errorf("LOST: partition %d offset %d has number %d of producer %d where %d is due", p, record.Offset, number, producer, expected)
	}
	if record.Offset != r.offset[p] {
		return fmt.Errorf("partition %d: offset %d where %d is due", p, record.Offset, r.offset[p])
	}
	r.next[p][producer]++
	r.offset[p]++
	return nil
}
