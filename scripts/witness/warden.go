package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// warden looks after the places with a policy: each time it reads all that they hold. Of a place that is compacted the newest
// acknowledged record of each key must be there; of one that only deletes every acknowledged record from its start on, and nothing
// else; and no start ever goes back.
type warden struct {
	places    []*place // All of them: a record names its place by its number here.
	seen      map[string]map[int32]*pass
	compacted int64 // Records that compaction had taken, as of the last look.
	deleted   int64 // Offsets that lay below the starts.
}

// pass is what one reading of a place saw.
type pass struct {
	*place
	at     int
	next   int64 // Behind the last record.
	n      int64
	last   map[int]int64   // Number of the last record of each producer.
	read   map[int64]mark  // By offset, if nothing is compacted.
	newest map[string]mark // Of each key the last record, if it is.
}

func newWarden(all []*place) *warden { return &warden{places: all} }

func (w *warden) topics() []string {
	names := map[string]bool{}
	for _, p := range w.places {
		if p.hasPolicy() {
			names[p.topic] = true
		}
	}
	all := make([]string, 0, len(names))
	for name := range names {
		all = append(all, name)
	}
	return all
}

// verify reads everything. Nothing is in flight meanwhile, and the last record of each place is newer than any compaction.
func (w *warden) verify(ctx context.Context, bootstrap string) error {
	if len(w.topics()) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(w.topics()...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100_000_000), kgo.FetchMaxPartitionBytes(4<<20))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := again(func() (kadm.ListedOffsets, error) { return admin.ListEndOffsets(ctx, w.topics()...) })
	if err != nil {
		return err
	}
	starts, err := again(func() (kadm.ListedOffsets, error) { return admin.ListStartOffsets(ctx, w.topics()...) })
	if err != nil {
		return err
	}
	w.begin(starts)
	if err := w.read(ctx, client, ends); err != nil {
		return err
	}
	// What went while this was read is not missing.
	if starts, err = admin.ListStartOffsets(ctx, w.topics()...); err != nil {
		return err
	}
	return w.judge(starts, ends)
}

func (w *warden) begin(starts kadm.ListedOffsets) {
	w.seen = map[string]map[int32]*pass{}
	for at, p := range w.places {
		if !p.hasPolicy() {
			continue
		}
		if w.seen[p.topic] == nil {
			w.seen[p.topic] = map[int32]*pass{}
		}
		start, _ := starts.Lookup(p.topic, p.partition)
		w.seen[p.topic][p.partition] = &pass{place: p, at: at, next: start.Offset,
			last: map[int]int64{}, read: map[int64]mark{}, newest: map[string]mark{}}
	}
}

func (w *warden) each(look func(*pass) error) error {
	for _, partitions := range w.seen {
		for _, p := range partitions {
			if err := look(p); err != nil {
				return fmt.Errorf("%v: %w", p.place, err)
			}
		}
	}
	return nil
}

func (w *warden) read(ctx context.Context, client *kgo.Client, ends kadm.ListedOffsets) error {
	isRead := func() bool {
		return w.each(func(p *pass) error {
			if end, _ := ends.Lookup(p.topic, p.partition); p.next < end.Offset {
				return fmt.Errorf("read up to %d of %d", p.next, end.Offset)
			}
			return nil
		}) == nil
	}
	for !isRead() {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("reading what has a policy: %w", err)
		}
		var wrong error
		fetches.EachError(func(topic string, p int32, err error) { wrong = fmt.Errorf("reading %s-%d: %w", topic, p, err) })
		fetches.EachRecord(func(record *kgo.Record) {
			if p := w.seen[record.Topic][record.Partition]; wrong == nil {
				if err := p.look(record); err != nil {
					wrong = fmt.Errorf("%v, offset %d: %w", p.place, record.Offset, err)
				}
			}
		})
		if wrong != nil {
			return wrong
		}
	}
	return nil
}

// look takes note of a record, and refuses one that cannot be there.
func (p *pass) look(record *kgo.Record) error {
	m, err := p.parse(record)
	if err != nil {
		return err
	}
	if record.Offset < p.next {
		return fmt.Errorf("it comes after %d", p.next-1)
	}
	p.next = record.Offset + 1
	p.n++
	if before, found := p.last[m.producer]; found && m.number <= before {
		return fmt.Errorf("DUPLICATE: number %d of producer %d after number %d", m.number, m.producer, before)
	}
	p.last[m.producer] = m.number
	if p.compacts {
		p.newest[string(record.Key)] = m
	} else {
		p.read[record.Offset] = m
	}
	return nil
}

func (p *pass) parse(record *kgo.Record) (mark, error) {
	text := record.Value
	if text == nil && len(record.Headers) == 1 {
		text = record.Headers[0].Value
	}
	m := mark{offset: record.Offset}
	words := strings.Fields(string(text))
	if len(words) != 4 {
		return m, fmt.Errorf("a strange record")
	}
	producer, err := strconv.Atoi(words[0])
	if err != nil {
		return m, fmt.Errorf("a strange record: %w", err)
	}
	number, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil {
		return m, fmt.Errorf("a strange record: %w", err)
	}
	m.producer, m.number = producer, number
	written := p.record(producer, p.at, number)
	isDifferent := string(written.Key) != string(record.Key) || string(written.Value) != string(record.Value) || (written.Value == nil) != (record.Value == nil)
	if isDifferent || producer >= nProducers {
		return m, fmt.Errorf("this is not what was written: %q", text)
	}
	return m, nil
}

// judge compares what was read with what was acknowledged.
func (w *warden) judge(starts, ends kadm.ListedOffsets) error {
	w.compacted, w.deleted = 0, 0
	return w.each(func(p *pass) error {
		start, _ := starts.Lookup(p.topic, p.partition)
		end, _ := ends.Lookup(p.topic, p.partition)
		l := p.ledger
		l.lock.Lock()
		defer l.lock.Unlock()
		if start.Offset < l.start {
			return fmt.Errorf("the start went back from %d to %d", l.start, start.Offset)
		}
		if start.Offset > 0 && !p.deletes {
			return fmt.Errorf("it starts at %d, and nothing may be deleted", start.Offset)
		}
		l.startsAt(start.Offset)
		w.deleted += start.Offset
		if p.compacts {
			w.compacted += max(0, end.Offset-start.Offset-p.n)
			return p.judgeKeys()
		}
		return p.judgeOffsets()
	})
}

func (p *pass) judgeKeys() error {
	for key, acknowledged := range p.ledger.newest {
		got, found := p.newest[key]
		isForgotten := !found && isDeletion(acknowledged.number)
		if got != acknowledged && !isForgotten {
			return fmt.Errorf("LOST: of key %q %+v was acknowledged last, there is %+v (found: %v)", key, acknowledged, got, found)
		}
	}
	return nil
}

// judgeOffsets: from the start on it is what was acknowledged, no more and no less.
func (p *pass) judgeOffsets() error {
	for offset, acknowledged := range p.ledger.at {
		if got, found := p.read[offset]; got != acknowledged {
			return fmt.Errorf("LOST: %+v was acknowledged, there is %+v (found: %v)", acknowledged, got, found)
		}
	}
	for offset, got := range p.read {
		if _, found := p.ledger.at[offset]; !found && offset >= p.ledger.start {
			return fmt.Errorf("%+v was never acknowledged", got)
		}
	}
	return nil
}
