/**
 * Cost of an uploaded block, without socket and disk: from its request through the queue and the read cache into a
 * batch, with spans that are read and spans that are cached.
 *
 * `node test/bench/UploadSession.bench.ts`
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import type { Connection } from "../../src/network/Transport.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as PeerRequests from "../../src/peer/PeerRequests.ts"
import * as Upload from "../../src/peer/Upload.ts"
import * as UploadQueue from "../../src/peer/UploadQueue.ts"
import * as UploadSession from "../../src/peer/UploadSession.ts"
import * as ReadCache from "../../src/storage/ReadCache.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import { print } from "./measure.ts"

const { blockLength } = PieceGeometry
const pieceLength = 1_048_576
const inPiece = pieceLength / blockLength

/** How many requests are queued at any time. */
const depth = 256

const program = Effect.fnUntraced(function* (name: string, pieceCount: number) {
  const geometry = PieceGeometry.make({ pieceLength, totalLength: pieceCount * pieceLength })
  const assembly = yield* Assembly.make({ geometry, stored: Bitfield.full(pieceCount), random: Prng.make(1) })
  const upload = yield* Upload.make({
    geometry,
    storage: {
      readBlock: (_piece, _begin, length, into) => Effect.succeed({ bytes: into!.subarray(0, length), files: [] })
    },
    stored: assembly.table.stored,
    cache: ReadCache.make(),
    onFailure: () => {}
  })
  const requested = Latch.makeUnsafe(false)
  const protocol = PeerProtocol.make({
    assembly,
    upload,
    id: idOf(0),
    isFast: true,
    wake: () => {},
    serve: () => {},
    interestChanged: () => {},
    now: 0
  })
  PeerRequests.unchoke(protocol)

  let next = 0
  const ask = () => {
    const piece = Math.floor(next / inPiece) as PieceIndex
    UploadQueue.request(protocol.uploads, piece, (next % inPiece) * blockLength, blockLength)
    next = (next + 1) % (pieceCount * inPiece)
  }
  let sent = 0
  let isOver = false
  const connection: Connection = {
    remote: { host: "127.0.0.1", port: 1 },
    receiveUnsafe: () => {},
    resumeUnsafe: () => {},
    writeUnsafe: (bytes) => {
      const blocks = Math.floor(bytes.length / blockLength)
      sent += blocks
      if (!isOver) for (let block = 0; block < blocks; block++) ask()
      return false
    },
    drained: Effect.yieldNow,
    closed: Effect.never
  }
  const session = yield* Effect.forkScoped(UploadSession.run(connection, protocol, requested))
  for (let block = 0; block < depth; block++) ask()
  yield* Effect.sleep("200 millis")

  let best = Number.POSITIVE_INFINITY
  for (let run = 0; run < 7; run++) {
    const [before, start] = [sent, performance.now()]
    yield* Effect.sleep("100 millis")
    best = Math.min(best, ((performance.now() - start) * 1e6) / (sent - before))
  }
  isOver = true
  print(name, best)
  if (session.pollUnsafe() !== undefined) throw new Error("the session ended")
}, Effect.scoped)

await Effect.runPromise(
  program("UploadSession: block, span read", 64).pipe(
    Effect.andThen(program("UploadSession: block, span cached", 8)),
    Effect.provide(BufferBudget.layer())
  )
)
