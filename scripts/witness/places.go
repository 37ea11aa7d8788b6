package main

import (
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// place is a partition under load, and what its topic's policy may take from it.
type place struct {
	topic     string
	partition int32
	compacts  bool // Of each key the newest record stays.
	deletes   bool // What is too much goes, from the start on.
	ledger    *ledger
}

func (p *place) hasPolicy() bool { return p.compacts || p.deletes }

func (p *place) String() string { return fmt.Sprintf("%s-%d", p.topic, p.partition) }

// The topics besides the plain one, if policies are asked for.
var policed = []struct{ topic, policy string }{
	{"killed-compacted", "compact"},
	{"killed-retained", "delete"},
	{"killed-both", "compact,delete"},
}

// places divides n partitions among the topics; those of the plain one come first.
func places(n int, withPolicies bool) (all []*place) {
	perTopic := 0
	if withPolicies {
		perTopic = n / (len(policed) + 1)
	}
	add := func(name string, n int, compacts, deletes bool) {
		for partition := range int32(n) {
			all = append(all, &place{topic: name, partition: partition, compacts: compacts, deletes: deletes, ledger: newLedger()})
		}
	}
	add(topic, n-perTopic*len(policed), false, false)
	for i, it := range policed {
		add(it.topic, perTopic, i != 1, i != 0)
	}
	return all
}

func plain(all []*place) (some []*place) {
	for _, p := range all {
		if !p.hasPolicy() {
			some = append(some, p)
		}
	}
	return some
}

// nOften and nSeldom: most keys come again at once, some only many rounds later, when their last record has long been compacted.
const (
	nOften   = 40
	nSeldom  = 200
	seldomIn = 64
)

func keyOf(producer int, number int64) string {
	if number%seldomIn == seldomIn-1 {
		return fmt.Sprintf("%d seldom %d", producer, number/seldomIn%nSeldom)
	}
	return fmt.Sprintf("%d often %d", producer, number%nOften)
}

// isDeletion: some of the keys that come often are deleted, and written again.
func isDeletion(number int64) bool { return number%16 == 5 }

// record is the number'th of a producer for a place, the at'th of all. A deletion has no value; a header says which it is.
func (p *place) record(producer, at int, number int64) *kgo.Record {
	record := kgo.StringRecord(value(producer, at, number))
	record.Topic, record.Partition = p.topic, p.partition
	if !p.hasPolicy() {
		return record
	}
	record.Key = []byte(keyOf(producer, number))
	if isDeletion(number) {
		record.Headers = []kgo.RecordHeader{{Key: "deletion", Value: record.Value}}
		record.Value = nil
	}
	return record
}

// mark is a record that was acknowledged, or read.
type mark struct {
	producer       int
	number, offset int64
}

// ledger is what was acknowledged of one place, as far as its policy must have kept it.
type ledger struct {
	lock   sync.Mutex
	at     map[int64]mark  // By offset.
	newest map[string]mark // By key.
	start  int64           // The furthest that the partition's start was seen.
}

func newLedger() *ledger { return &ledger{at: map[int64]mark{}, newest: map[string]mark{}} }

func (p *place) acknowledged(key string, m mark) {
	l := p.ledger
	l.lock.Lock()
	defer l.lock.Unlock()
	if !p.compacts {
		l.at[m.offset] = m
	} else if known, found := l.newest[key]; !found || known.offset < m.offset {
		l.newest[key] = m
	}
}

// startsAt forgets what may be gone.
func (l *ledger) startsAt(start int64) {
	l.start = start
	for offset := range l.at {
		if offset < start {
			delete(l.at, offset)
		}
	}
	for key, m := range l.newest {
		if m.offset < start {
			delete(l.newest, key)
		}
	}
}
