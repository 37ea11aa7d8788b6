package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A record batch as Kafka stores it (magic 2), written out here so that nothing but this program decides what is in it.
const (
	headerBytes = 61

	isTransactional = 1 << 4
	isControl       = 1 << 5
)

type batch struct {
	baseOffset    int64
	attributes    int16
	lastDelta     int32
	producerID    int64
	producerEpoch int16
	baseSequence  int32
	values        []string
	isCommit      bool // Of a marker.
}

func (b batch) lastOffset() int64 { return b.baseOffset + int64(b.lastDelta) }

// bytes of a batch whose records have no keys.
func (b batch) bytes(at time.Time) []byte {
	ms := at.UnixMilli()
	var records []byte
	for n, value := range b.values {
		body := []byte{0}                          // Attributes.
		body = binary.AppendVarint(body, 0)        // Time.
		body = binary.AppendVarint(body, int64(n)) // Offset.
		body = binary.AppendVarint(body, -1)       // No key.
		body = binary.AppendVarint(body, int64(len(value)))
		body = append(body, value...)
		body = binary.AppendVarint(body, 0) // No headers.
		records = append(binary.AppendVarint(records, int64(len(body))), body...)
	}
	var checked []byte
	checked = binary.BigEndian.AppendUint16(checked, uint16(b.attributes))
	checked = binary.BigEndian.AppendUint32(checked, uint32(len(b.values)-1))
	checked = binary.BigEndian.AppendUint64(checked, uint64(ms))
	checked = binary.BigEndian.AppendUint64(checked, uint64(ms))
	checked = binary.BigEndian.AppendUint64(checked, uint64(b.producerID))
	checked = binary.BigEndian.AppendUint16(checked, uint16(b.producerEpoch))
	checked = binary.BigEndian.AppendUint32(checked, uint32(b.baseSequence))
	checked = binary.BigEndian.AppendUint32(checked, uint32(len(b.values)))
	checked = append(checked, records...)

	var all []byte
	all = binary.BigEndian.AppendUint64(all, 0)                          // Offset.
	all = binary.BigEndian.AppendUint32(all, uint32(4+1+4+len(checked))) // Of what follows.
	all = binary.BigEndian.AppendUint32(all, ^uint32(0))                 // Leader epoch.
	all = append(all, 2)                                                 // Magic.
	all = binary.BigEndian.AppendUint32(all, crc32.Checksum(checked, crc32.MakeTable(crc32.Castagnoli)))
	return append(all, checked...)
}

// batches reads what a broker answered to a Fetch; the last one may be cut short.
func batches(bytes []byte) ([]batch, error) {
	var all []batch
	for len(bytes) >= headerBytes {
		n := 12 + int(binary.BigEndian.Uint32(bytes[8:]))
		if n < headerBytes || n > len(bytes) {
			break
		}
		b := batch{
			baseOffset:    int64(binary.BigEndian.Uint64(bytes)),
			attributes:    int16(binary.BigEndian.Uint16(bytes[21:])),
			lastDelta:     int32(binary.BigEndian.Uint32(bytes[23:])),
			producerID:    int64(binary.BigEndian.Uint64(bytes[43:])),
			producerEpoch: int16(binary.BigEndian.Uint16(bytes[51:])),
			baseSequence:  int32(binary.BigEndian.Uint32(bytes[53:])),
		}
		if b.attributes&7 != 0 {
			return nil, errors.New("a compressed batch: nobody wrote one")
		}
		if err := b.readRecords(bytes[headerBytes:n]); err != nil {
			return nil, err
		}
		all, bytes = append(all, b), bytes[n:]
	}
	return all, nil
}

func (b *batch) readRecords(bytes []byte) error {
	broken := errors.New("a record that cannot be read")
	number := func() (int, error) {
		value, n := binary.Varint(bytes)
		if n <= 0 {
			return 0, broken
		}
		bytes = bytes[n:]
		return int(value), nil
	}
	text := func() ([]byte, error) {
		n, err := number()
		if err != nil || n > len(bytes) {
			return nil, broken
		}
		if n < 0 {
			return nil, nil
		}
		found := bytes[:n]
		bytes = bytes[n:]
		return found, nil
	}
	for len(bytes) > 0 {
		if _, err := number(); err != nil || len(bytes) == 0 {
			return broken
		}
		bytes = bytes[1:] // Attributes.
		if _, err := number(); err != nil {
			return err
		}
		if _, err := number(); err != nil {
			return err
		}
		key, err := text()
		if err != nil {
			return err
		}
		value, err := text()
		if err != nil {
			return err
		}
		if n, err := number(); err != nil || n != 0 {
			return broken // Nobody writes headers here.
		}
		b.values = append(b.values, string(value))
		if b.attributes&isControl != 0 && len(key) == 4 {
			b.isCommit = binary.BigEndian.Uint16(key[2:]) == 1
		}
	}
	return nil
}
