package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicsPerRound keeps the directory small over a hundred rounds; the topics of the round before the last are deleted again.
const topicsPerRound = 6

// maker creates and deletes topics, and remembers what was acknowledged.
type maker struct {
	client  *kgo.Client
	admin   *kadm.Client
	made    map[string]int // Partitions.
	deleted map[string]bool
	doubt   map[string]bool // Asked for, and never answered.
	running sync.WaitGroup
}

func (m *maker) resume(ctx context.Context, round int) {
	m.doubt = map[string]bool{}
	m.running.Add(1)
	go func() {
		defer m.running.Done()
		for n := 0; n < topicsPerRound && ctx.Err() == nil; n++ {
			m.make(ctx, fmt.Sprintf("made-%d-%d", round, n), n%3+1)
			m.remove(ctx, fmt.Sprintf("made-%d-%d", round-2, n))
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
}

func (m *maker) pause() { m.running.Wait() }

func (m *maker) make(ctx context.Context, name string, nPartitions int) {
	if _, err := m.admin.CreateTopic(ctx, int32(nPartitions), 1, nil, name); err != nil {
		m.doubt[name] = true
		return
	}
	m.made[name] = nPartitions
}

func (m *maker) remove(ctx context.Context, name string) {
	if _, exists := m.made[name]; !exists {
		return
	}
	if _, err := m.admin.DeleteTopic(ctx, name); err != nil {
		m.doubt[name] = true
		return
	}
	delete(m.made, name)
	m.deleted[name] = true
}

// list asks the broker for topics and their number of partitions. Not by kadm, which answers from what it has heard some seconds ago:
// a broker may be killed and up again in less.
func (m *maker) list(ctx context.Context) (map[string]int, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = nil // All of them.
	response, err := request.RequestWith(ctx, m.client)
	if err != nil {
		return nil, err
	}
	topics := map[string]int{}
	for _, topic := range response.Topics {
		if topic.ErrorCode == 0 && topic.Topic != nil {
			topics[*topic.Topic] = len(topic.Partitions)
		}
	}
	return topics, nil
}

// verify settles the doubts by what is there, and insists on the rest.
func (m *maker) verify(ctx context.Context) error {
	topics, err := again(func() (map[string]int, error) { return m.list(ctx) })
	if err != nil {
		return err
	}
	for name := range m.doubt {
		if nPartitions, exists := topics[name]; exists {
			m.made[name] = nPartitions
		} else {
			delete(m.made, name)
		}
	}
	m.doubt = nil
	for name, nPartitions := range m.made {
		if topics[name] != nPartitions {
			return fmt.Errorf("LOST TOPIC: %s has %d partitions of %d", name, topics[name], nPartitions)
		}
	}
	for name := range m.deleted {
		if _, exists := topics[name]; exists {
			return fmt.Errorf("topic %s was deleted and is there again", name)
		}
	}
	return nil
}
