package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The topics of old, whose partitions get what no broker of today would write.
var relics = []struct {
	name        string
	nPartitions int32
	settings    map[string]string
}{
	{"old", 4, map[string]string{"retention.ms": "-1", "index.interval.bytes": "300"}},
	{"merged", 3, map[string]string{"cleanup.policy": "compact", "index.interval.bytes": "300"}},
	{"worn", 2, map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "index.interval.bytes": "300"}},
}

const (
	relicTime = int64(1_500_000_000_000)
	reach     = int64(1<<31 - 1)
)

// old makes topics on a broker, and later, in the directory that it has left, logs of before Kafka 0.11 (messages of magic 0 and 1)
// and segments that reach further than their indexes can say, as brokers before 2.0 left them.
func old(ctx context.Context, flags *flag.FlagSet, arguments []string) error {
	bootstrap := flags.String("bootstrap", "", "HOST:PORT of a broker that is to make the topics")
	data := flags.String("data", "", "a log directory whose broker was stopped, to write into")
	_ = flags.Parse(arguments) // ExitOnError
	if *data != "" {
		return bury(*data)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(*bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, relic := range relics {
		settings := map[string]*string{}
		for name, value := range relic.settings {
			settings[name] = &value
		}
		if _, err := kadm.NewClient(client).CreateTopic(ctx, relic.nPartitions, 1, settings, relic.name); err != nil {
			return err
		}
	}
	return nil
}

func bury(data string) error {
	var zero, one, mixed, leaders []byte
	for n := range int64(40) {
		zero = append(zero, single(0, 0, n*3, n)...)
		one = append(one, single(1, 0, n*3, n)...)
		// The leader's time, which goes back now and then.
		leaders = append(leaders, single(1, 8, n*3, n*7%20)...)
	}
	for n := range int64(10) {
		zero = append(zero, packed(0, "gzip", 200+n*10, n)...)
		zero = append(zero, packed(0, "lz4", 205+n*10, n)...)
		one = append(one, packed(1, "gzip", 200+n*10, n)...)
		one = append(one, packed(1, "lz4", 205+n*10, n)...)
		mixed = append(mixed, single(0, 0, n*10, n)...)
		mixed = append(mixed, packed(1, "gzip", 5+n*10, n)...)
		mixed = append(mixed, modern(7+n*10, n)...)
	}
	far := []int64{0, reach - 5, reach - 2, reach + 10, reach + 13, 2*reach + 10, 2*reach + 11, 2*reach + 20}
	var merged, started, messages []byte
	for n, offset := range far {
		merged = append(merged, modern(offset, int64(n))...)
		if n > 0 {
			started = append(started, modern(offset, int64(n))...)
		}
	}
	for n, last := range []int64{4, reach - 30, reach - 20, reach + 20, reach + 40, 2*reach + 30, 2*reach + 60, 2*reach + 80} {
		messages = append(messages, packed(1, "gzip", last, int64(n))...)
	}
	behind := 3 * reach
	// Kafka does not look into a segment that has an index, and serves it as it is until it is compacted.
	indexed := func(err error) error {
		for _, ending := range []string{"index", "timeindex"} {
			err = errors.Join(err, os.WriteFile(filepath.Join(data, "merged-1", fmt.Sprintf("%020d.%s", 0, ending)), nil, 0o644))
		}
		return err
	}
	var again, both []byte
	for n := range int64(60) {
		again = append(again, single(int8(n%2), 0, n*2, n%7)...)
		both = append(both, single(1, 0, n*2, n%5)...)
		if n%3 == 0 {
			both = append(both, modern(n*2+1, n%5)...)
		}
	}
	return errors.Join(
		segments(data, "old-0", map[int64][]byte{0: zero}),
		segments(data, "old-1", map[int64][]byte{0: one, 1000: packed(1, "gzip", 1003, 1)}),
		segments(data, "old-2", map[int64][]byte{0: mixed}),
		segments(data, "old-3", map[int64][]byte{0: leaders, 500: modern(500, 1)}),
		segments(data, "merged-0", map[int64][]byte{0: merged, behind: modern(behind, 1)}),
		indexed(segments(data, "merged-1", map[int64][]byte{0: started, behind: modern(behind, 1)})),
		segments(data, "merged-2", map[int64][]byte{0: messages, behind: modern(behind, 1)}),
		segments(data, "worn-0", map[int64][]byte{0: again, 1000: modern(1000, 1)}),
		segments(data, "worn-1", map[int64][]byte{0: both, 1000: modern(1000, 1)}),
	)
}

// segments replaces the files of a log: there are no indexes, and no snapshots.
func segments(data, log string, files map[int64][]byte) error {
	folder := filepath.Join(data, log)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasPrefix(name, "0") {
			err = errors.Join(err, os.Remove(filepath.Join(folder, name)))
		}
	}
	for base, contents := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(folder, fmt.Sprintf("%020d.log", base)), contents, 0o644))
	}
	return err
}

func relicKey(n int64) []byte   { return fmt.Appendf(nil, "key %d", n) }
func relicValue(n int64) []byte { return fmt.Appendf(nil, "value %d %s", n, strings.Repeat("x", 30)) }

// single is one message of magic 0 or 1.
func single(magic int8, attributes byte, offset, n int64) []byte {
	return message(magic, attributes, offset, relicTime+n*1000, relicKey(n), relicValue(n))
}

func message(magic int8, attributes byte, offset, timestamp int64, key, value []byte) []byte {
	covered := []byte{byte(magic), attributes}
	if magic == 1 {
		covered = binary.BigEndian.AppendUint64(covered, uint64(timestamp))
	}
	for _, field := range [][]byte{key, value} {
		length := uint32(len(field))
		if field == nil {
			length = 1<<32 - 1
		}
		covered = append(binary.BigEndian.AppendUint32(covered, length), field...)
	}
	whole := binary.BigEndian.AppendUint64(nil, uint64(offset))
	whole = binary.BigEndian.AppendUint32(whole, uint32(len(covered)+4))
	whole = binary.BigEndian.AppendUint32(whole, crc32.ChecksumIEEE(covered))
	return append(whole, covered...)
}

// packed is a message in which lie three others; last is the offset of the last of them.
func packed(magic int8, codec string, last, n int64) []byte {
	var inner []byte
	newest := int64(0)
	for i := range int64(3) {
		offset, at := last-4+i*2, relicTime+n*1000+(i*7)%10
		if magic == 1 {
			offset = i * 2
		}
		newest = max(newest, at)
		inner = append(inner, message(magic, 0, offset, at, relicKey(i), relicValue(n))...)
	}
	var out bytes.Buffer
	attributes := byte(1)
	if codec == "lz4" {
		attributes = 3
		writer := lz4.NewWriter(&out)
		_ = writer.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false))
		_, _ = writer.Write(inner)
		_ = writer.Close()
		if magic == 0 {
			// As the first clients had it: a checksum of the wrong bytes.
			out.Bytes()[6] ^= 0xff
		}
	} else {
		writer := gzip.NewWriter(&out)
		_, _ = writer.Write(inner)
		_ = writer.Close()
	}
	return message(magic, attributes, last, newest, nil, out.Bytes())
}

// modern is a batch of one record of magic 2.
func modern(offset, n int64) []byte {
	key, value := relicKey(n), relicValue(n)
	record := []byte{0, 0, 0}
	record = append(binary.AppendVarint(record, int64(len(key))), key...)
	record = append(binary.AppendVarint(record, int64(len(value))), value...)
	record = append(record, 0)
	record = append(binary.AppendVarint(nil, int64(len(record))), record...)
	big := binary.BigEndian
	covered := big.AppendUint16(nil, 0)
	covered = big.AppendUint32(covered, 0)
	covered = big.AppendUint64(covered, uint64(relicTime+n*1000))
	covered = big.AppendUint64(covered, uint64(relicTime+n*1000))
	covered = big.AppendUint64(covered, 1<<64-1)
	covered = big.AppendUint16(covered, 1<<16-1)
	covered = big.AppendUint32(covered, 1<<32-1)
	covered = big.AppendUint32(covered, 1)
	covered = append(covered, record...)
	whole := big.AppendUint64(nil, uint64(offset))
	whole = big.AppendUint32(whole, uint32(len(covered)+9))
	whole = append(big.AppendUint32(whole, 0), 2)
	whole = big.AppendUint32(whole, crc32.Checksum(covered, crc32.MakeTable(crc32.Castagnoli)))
	return append(whole, covered...)
}
