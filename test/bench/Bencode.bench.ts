/**
 * Time to decode and encode metainfo: 100,000 pieces in 2,000 files, like large torrents, and 125,000 files, close to
 * the decoder's token limit.
 *
 * `vitest bench test/bench/Bencode.bench.ts`
 */
import { assert, it } from "@effect/vitest"
import { Result } from "effect"
import * as Bencode from "../../src/bencode/Bencode.ts"

const metainfo = (pieceCount: number, fileCount: number): Uint8Array =>
  Bencode.encode({
    announce: "http://tracker.example/announce",
    info: {
      files: Array.from({ length: fileCount }, (_, index) => ({
        length: 1_000_003 * (index + 1),
        path: [`directory ${index % 50}`, `file number ${index}.dat`]
      })),
      name: "a torrent",
      "piece length": 1_048_576,
      pieces: new Uint8Array(20 * pieceCount)
    }
  })

for (const [name, input] of [
  ["100,000 pieces, 2,000 files", metainfo(100_000, 2_000)],
  ["1,000 pieces, 125,000 files", metainfo(1_000, 125_000)]
] as const) {
  it(`Bencode: ${name}, ${Math.round(input.length / 1024)} KiB`, { timeout: 60_000 }, async ({ bench }) => {
    const { value } = Result.getOrThrow(Bencode.decode(input))
    assert.deepStrictEqual(Bencode.encode(value), input)

    await bench.compare(
      bench("decode", () => {
        Bencode.decode(input)
      }),
      bench("encode", () => {
        Bencode.encode(value)
      }),
      { iterations: 10, warmupIterations: 3 }
    )
  })
}
