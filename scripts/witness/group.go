package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// group is a consumer group of one member that commits after every poll.
type group struct {
	name          string
	client        *kgo.Client
	sent          map[int32]int64 // Of the last commit, answered or not.
	acknowledged  map[int32]int64
	nAcknowledged int
	running       sync.WaitGroup
}

func newGroup(name, bootstrap string) *group {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(name), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100_000_000))
	if err != nil {
		panic(err) // Only for options that contradict each other.
	}
	return &group{name: name, client: client, sent: map[int32]int64{}, acknowledged: map[int32]int64{}}
}

func (g *group) resume(ctx context.Context) {
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		for ctx.Err() == nil {
			g.step(ctx)
		}
	}()
}

func (g *group) pause() { g.running.Wait() }

func (g *group) step(ctx context.Context) {
	commit := map[int32]kgo.EpochOffset{}
	g.client.PollRecords(ctx, 500).EachRecord(func(record *kgo.Record) {
		commit[record.Partition] = kgo.EpochOffset{Epoch: record.LeaderEpoch, Offset: record.Offset + 1}
	})
	if len(commit) == 0 {
		return
	}
	for p, at := range commit {
		g.sent[p] = at.Offset
	}
	failure := errors.New("no answer")
	g.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{topic: commit},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			if failure = err; err != nil {
				return
			}
			for _, t := range response.Topics {
				for _, p := range t.Partitions {
					failure = errors.Join(failure, kerr.ErrorForCode(p.ErrorCode))
				}
			}
		})
	if failure == nil {
		g.nAcknowledged++
		for p, at := range commit {
			g.acknowledged[p] = at.Offset
		}
	}
}

// verify: what is committed is the last acknowledged commit, or the one after it whose answer was lost.
func (g *group) verify(ctx context.Context, admin *kadm.Client) error {
	committed, err := again(func() (kadm.OffsetResponses, error) { return admin.FetchOffsets(ctx, g.name) })
	if err != nil {
		return fmt.Errorf("group %s: %w", g.name, err)
	}
	for p, acknowledged := range g.acknowledged {
		got, found := committed.Lookup(topic, p)
		if !found || got.At != acknowledged && got.At != g.sent[p] {
			return fmt.Errorf("LOST COMMIT: group %s partition %d: %d is committed, %d was acknowledged and %d sent", g.name, p, got.At, acknowledged, g.sent[p])
		}
	}
	committed.Each(func(o kadm.OffsetResponse) { g.acknowledged[o.Partition], g.sent[o.Partition] = o.At, o.At })
	return nil
}
