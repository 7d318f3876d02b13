/**
 * An uploaded block without sockets and storage: a request from its arrival to its end, and the permission to send it.
 */
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { blockLength } from "../../src/base/PieceGeometry.ts"
import * as UploadQueue from "../../src/peer/UploadQueue.ts"
import { type Operation, plain, seen } from "./Operation.ts"

const pieceLength = 1_048_576
const inPiece = pieceLength / blockLength
const blocks = 512

/** `depth` requests are queued at any time. Those of a finished run are requested again further on. */
const requests = (depth: number, maxLength: number): Operation => {
  const queue = UploadQueue.make({ pieceLength })
  UploadQueue.unchoke(queue)
  let next = 0
  const ask = () => {
    UploadQueue.request(queue, Math.floor(next / inPiece) as PieceIndex, (next % inPiece) * blockLength, blockLength)
    next = (next + 1) % 2_000_000
  }
  for (let block = 0; block < depth; block++) ask()
  return plain(`UploadQueue: a request of ${depth}, runs of ${maxLength >>> 10} KiB`, blocks, () => {
    for (let answered = 0; answered < blocks; ) {
      const run = UploadQueue.take(queue, maxLength)
      for (const request of run) if (UploadQueue.finish(queue, request)) seen.value++
      for (let asked = 0; asked < run.length; asked++) ask()
      answered += run.length
    }
  })
}

export const operations: ReadonlyArray<Operation> = [16, 500].flatMap((depth) =>
  [blockLength, UploadQueue.defaultMaxRunLength].map((maxLength) => requests(depth, maxLength))
)
