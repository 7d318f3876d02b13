/** Metainfo decoded and encoded: many pieces in one file, and many files, as in large torrents. */
import * as Result from "effect/Result"
import * as Bencode from "../../src/bencode/Bencode.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import { type Operation, plain, seen } from "./Operation.ts"

const metainfo = (pieceCount: number, fileCount: number): Uint8Array => {
  const pieceLength = 1_048_576
  // All files but the last are short, and it takes what the pieces need.
  const length = 1_003
  const last = pieceCount * pieceLength - length * (fileCount - 1)
  return Bencode.encode({
    announce: "http://tracker.example/announce",
    info: {
      files: Array.from({ length: fileCount }, (_, index) => ({
        length: index === fileCount - 1 ? last : length,
        path: [`directory ${index % 50}`, `file number ${index}.dat`]
      })),
      name: "a torrent",
      "piece length": pieceLength,
      pieces: new Uint8Array(20 * pieceCount)
    }
  })
}

const [fileCount, pieceCount] = [200, 1_000]
const input = metainfo(pieceCount, fileCount)
const { value } = Result.getOrThrow(Bencode.decode(input))

export const operations: ReadonlyArray<Operation> = [
  plain(
    "Bencode: a file of a torrent decoded",
    fileCount,
    () => {
      seen.value += Result.getOrThrow(Bencode.decode(input)).end
    },
    2
  ),
  plain(
    "Bencode: a file of a torrent encoded",
    fileCount,
    () => {
      seen.value += Bencode.encode(value).length
    },
    2
  ),
  plain(
    "Metainfo: a file of a torrent read and checked",
    fileCount,
    () => {
      seen.value += Result.getOrThrow(Metainfo.decode(input)).layout.files.length
    },
    1
  )
]
