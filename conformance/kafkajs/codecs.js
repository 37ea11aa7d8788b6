// KafkaJS brings gzip only; the other codecs come from npm. All of them ship what they need inside their packages.
const { CompressionTypes, CompressionCodecs } = require('kafkajs')
const snappy = require('snappy')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')

// The framing of xerial's Snappy stream, which Java clients write: a header of 16 bytes, then blocks with their length.
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const XERIAL_HEADER_BYTES = 16

async function unsnappy (buffer) {
  if (!buffer.subarray(0, XERIAL.length).equals(XERIAL)) return snappy.uncompress(buffer)
  const blocks = []
  for (let at = XERIAL_HEADER_BYTES; at < buffer.length;) {
    const size = buffer.readInt32BE(at)
    blocks.push(await snappy.uncompress(buffer.subarray(at + 4, at + 4 + size)))
    at += 4 + size
  }
  return Buffer.concat(blocks)
}

// Snappy is written without a frame, as the usual codec for KafkaJS does: a broker has to take that too.
exports.install = async () => {
  await zstd.init()
  CompressionCodecs[CompressionTypes.Snappy] = () => ({
    compress: encoder => snappy.compress(encoder.buffer), decompress: unsnappy
  })
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: encoder => lz4.compressFrame(encoder.buffer), decompress: buffer => lz4.decompressFrame(buffer)
  })
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
    decompress: async buffer => Buffer.from(zstd.decompress(buffer))
  })
}
