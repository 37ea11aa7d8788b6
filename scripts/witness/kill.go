package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topic      = "killed"
	nProducers = 4
	// Records that must be on their way, unanswered, when the kill comes.
	unacknowledgedMin = 1000
)

// kill: in each round producers, groups and an administrator work until the broker is killed; after the restart everything that
// was acknowledged is looked for.
func kill(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	rounds := flags.Int("rounds", 100, "how often to kill")
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of the broker")
	logPath := flags.String("log", "broker.log", "the broker's output")
	perRound := flags.Int("records", 20000, "acknowledged records per round, at most")
	nPartitions := flags.Int("partitions", 8, "partitions under load")
	withPolicies := flags.Bool("policies", false, "three quarters of them in topics that are compacted, or lose old segments, or both")
	_ = flags.Parse(arguments) // ExitOnError
	b, err := newBroker(flags.Args(), *bootstrap, *logPath)
	if err != nil {
		return err
	}
	if err := b.start(); err != nil {
		return err
	}
	defer func() { _ = b.kill() }()
	t, err := newTrial(ctx, b, places(*nPartitions, *withPolicies))
	if err != nil {
		return err
	}
	for round := 1; round <= *rounds; round++ {
		if err := t.round(ctx, round, int64(1000+rand.IntN(max(1, *perRound-1000)))); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	// Once more from the first record, after a clean stop: a late kill must not have hurt what an early round wrote.
	if err := errors.Join(b.stop(ctx), b.start()); err != nil {
		return err
	}
	t.reader = newReader(t.fleet, len(plain(t.places)))
	if err := t.verify(ctx); err != nil {
		return fmt.Errorf("from the first record: %w", err)
	}
	commits := 0
	for _, g := range t.groups {
		commits += g.nAcknowledged
	}
	if *withPolicies {
		if t.warden.compacted == 0 || t.warden.deleted == 0 {
			return fmt.Errorf("the policies took %d and %d records: they never came to anything", t.warden.compacted, t.warden.deleted)
		}
		fmt.Printf("of %d partitions with a policy: %d records compacted away, %d below the starts\n",
			len(t.places)-len(plain(t.places)), t.warden.compacted, t.warden.deleted)
	}
	fmt.Printf("%d rounds: %d records acknowledged, 0 lost, 0 duplicated, in order; %d commits and %d topics hold; "+
		"never less than %d unacknowledged at the kill; slowest restart %d ms\n",
		*rounds, acknowledged(t.fleet), commits, len(t.maker.made)+len(t.maker.deleted), t.leastUnacknowledged, t.slowest.Milliseconds())
	return b.stop(ctx)
}

// trial is the load, and what it remembers of what was acknowledged.
type trial struct {
	broker              *broker
	admin               *kadm.Client
	places              []*place
	fleet               []*producer
	groups              []*group
	maker               *maker
	reader              *reader
	warden              *warden
	leastUnacknowledged int64
	slowest             time.Duration
}

func newTrial(ctx context.Context, b *broker, places []*place) (*trial, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.bootstrap), kgo.RetryTimeout(patience))
	if err != nil {
		return nil, err
	}
	admin := kadm.NewClient(client)
	if err := createTopics(ctx, admin, places); err != nil {
		return nil, err
	}
	t := &trial{broker: b, admin: admin, places: places, warden: newWarden(places), leastUnacknowledged: math.MaxInt64,
		groups: []*group{newGroup("killed-a", b.bootstrap), newGroup("killed-b", b.bootstrap)},
		maker:  &maker{client: client, admin: admin, made: map[string]int{}, deleted: map[string]bool{}}}
	for i := range nProducers {
		p, err := newProducer(i, b.bootstrap, places)
		if err != nil {
			return nil, err
		}
		t.fleet = append(t.fleet, p)
	}
	t.reader = newReader(t.fleet, len(plain(places)))
	return t, nil
}

// createTopics: what has a policy rolls every moment, and goes soon.
func createTopics(ctx context.Context, admin *kadm.Client, places []*place) error {
	settings := map[string]map[string]string{topic: {"segment.bytes": "1048576"}}
	for _, it := range policed {
		settings[it.topic] = map[string]string{"cleanup.policy": it.policy, "segment.bytes": "1048576", "segment.ms": "200",
			"retention.bytes": "300000", "file.delete.delay.ms": "100", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "500"}
	}
	nPartitions := map[string]int32{}
	for _, p := range places {
		nPartitions[p.topic]++
	}
	for name, n := range nPartitions {
		config := map[string]*string{}
		for key, value := range settings[name] {
			config[key] = &value
		}
		if _, err := admin.CreateTopic(ctx, n, 1, config, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (t *trial) round(ctx context.Context, round int, enough int64) error {
	before := acknowledged(t.fleet)
	wire, err := t.loadUntilKilled(ctx, round, before+enough)
	if err != nil {
		return err
	}
	// Answers that were already in the sockets have come by now; what is missing is really unacknowledged.
	time.Sleep(50 * time.Millisecond)
	unacknowledged := produced(t.fleet) - acknowledged(t.fleet)
	t.leastUnacknowledged = min(t.leastUnacknowledged, unacknowledged, wire)
	if unacknowledged < unacknowledgedMin {
		return fmt.Errorf("only %d records were unacknowledged", unacknowledged)
	}
	killedAt := acknowledged(t.fleet) - before
	restart := time.Now()
	if err := t.broker.start(); err != nil {
		return err
	}
	restarted := time.Since(restart)
	t.slowest = max(t.slowest, restarted)
	if err := t.verify(ctx); err != nil {
		return err
	}
	fmt.Printf("round %3d: %6d acknowledged, killed with %5d unacknowledged (%5d on the wire), up again in %4d ms, all there\n",
		round, killedAt, unacknowledged, wire, restarted.Milliseconds())
	return nil
}

// loadUntilKilled gives back how many records were on the wire at the kill.
func (t *trial) loadUntilKilled(ctx context.Context, round int, enough int64) (wire int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, p := range t.fleet {
		p.resume()
	}
	for _, g := range t.groups {
		g.resume(ctx)
	}
	t.maker.resume(ctx, round)
	late := until("enough is acknowledged and enough is on its way", func() bool {
		wire = onTheWire(t.fleet)
		return acknowledged(t.fleet) >= enough && wire >= unacknowledgedMin || t.broker.dead()
	})
	err = errors.Join(late, t.broker.kill())
	cancel()
	for _, p := range t.fleet {
		p.pause()
	}
	for _, g := range t.groups {
		g.pause()
	}
	t.maker.pause()
	return wire, err
}

func (t *trial) verify(ctx context.Context) error {
	for _, g := range t.groups {
		if err := g.verify(ctx, t.admin); err != nil {
			return err
		}
	}
	if err := t.maker.verify(ctx); err != nil {
		return err
	}
	for _, p := range t.fleet {
		p.reconnected()
		if err := p.drain(); err != nil {
			return err
		}
	}
	if err := t.fleet[0].seal(); err != nil {
		return err
	}
	return errors.Join(t.reader.verify(ctx, t.broker.bootstrap), t.warden.verify(ctx, t.broker.bootstrap))
}

func sum(fleet []*producer, of func(*producer) int64) (total int64) {
	for _, p := range fleet {
		total += of(p)
	}
	return total
}

func acknowledged(fleet []*producer) int64 {
	return sum(fleet, func(p *producer) int64 { return p.acknowledged.Load() })
}

func produced(fleet []*producer) int64 {
	return sum(fleet, func(p *producer) int64 { return p.produced.Load() })
}

// onTheWire counts whole records in Produce requests that were written and not answered yet.
func onTheWire(fleet []*producer) int64 {
	return sum(fleet, func(p *producer) int64 { return p.wire.Load() / recordBytes })
}

// recordBytes is a little more than one record takes in a request.
const recordBytes = 220

// value: at is the number of the place, which is the partition in the plain topic.
func value(producer, at int, number int64) string {
	text := fmt.Sprintf("%d %d %d ", producer, at, number)
	return text + strings.Repeat("k", 200-len(text))
}
