/**
 * Cost of an uploaded block except sockets and storage: a request from its arrival to its end, and the permission to
 * send it.
 *
 * `node test/bench/Uploads.bench.ts`
 */
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { blockLength } from "../../src/base/PieceGeometry.ts"
import * as UploadQueue from "../../src/peer/UploadQueue.ts"
import { measure } from "./measure.ts"

let seen = 0

const pieceLength = 1_048_576
const inPiece = pieceLength / blockLength

/** `depth` requests are queued at any time. Those of a finished run are requested again further on. */
for (const depth of [16, 500]) {
  for (const maxLength of [blockLength, UploadQueue.defaultMaxRunLength]) {
    const queue = UploadQueue.make({ pieceLength })
    UploadQueue.unchoke(queue)
    let next = 0
    const ask = () => {
      UploadQueue.request(queue, Math.floor(next / inPiece) as PieceIndex, (next % inPiece) * blockLength, blockLength)
      next = (next + 1) % 2_000_000
    }
    for (let block = 0; block < depth; block++) ask()
    measure(`UploadQueue: request of ${depth}, runs of ${maxLength >>> 10} KiB`, 1_024, () => {
      for (let answered = 0; answered < 1_024; ) {
        const run = UploadQueue.take(queue, maxLength)
        for (const request of run) if (UploadQueue.finish(queue, request)) seen++
        for (let asked = 0; asked < run.length; asked++) ask()
        answered += run.length
      }
    })
  }
}

if (seen === 0) throw new Error("nothing was measured")
