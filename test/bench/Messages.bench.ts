/**
 * CPU that a MiB of each kind of message costs in a torrent of a million pieces, each message in a segment of its own.
 *
 * `node test/bench/Messages.bench.ts`
 */
import * as Effect from "effect/Effect"
import * as Messages from "../peer/messages.ts"

const pieceCount = Number(process.argv[2] ?? 1_000_000)

for (const kind of Messages.kinds) {
  const nanoseconds = await Effect.runPromise(Effect.scoped(Messages.cost(kind, pieceCount, 65_536, 8)))
  const milliseconds = (nanoseconds * 1_048_576) / 1e6
  console.log(`${kind.name.padEnd(40)} ${milliseconds.toFixed(1).padStart(8)} ms a MiB`)
}
