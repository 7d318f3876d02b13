/**
 * Locks files in a process of its own: `hold-locks.ts DIRECTORY PATH...`. Prints `held`, or why not, in one line;
 * releases the locks and ends when its input ends.
 */
import * as Effect from "effect/Effect"
import * as NodeWriterLocks from "../../../src/storage/provider/node/locks/NodeWriterLocks.ts"

const [directory, ...paths] = process.argv.slice(2)

const inputEnds = Effect.callback<void>((resume) => {
  process.stdin.on("end", () => resume(Effect.void)).resume()
})

const program = NodeWriterLocks.make({ directory: directory! })
  .acquire(
    paths.map((path) => path.split("/")),
    "held by Node"
  )
  .pipe(
    Effect.andThen(Effect.sync(() => console.log("held"))),
    Effect.andThen(inputEnds),
    Effect.catch((error) => Effect.sync(() => console.log(error.message)))
  )

await Effect.runPromise(Effect.scoped(program))
