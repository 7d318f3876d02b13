/**
 * Does random things with the torrents of a session until it is killed: `FOLDER SEED`. Says what it is about to do, as
 * JSON, and then that it has done it.
 */
import { writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as Prng from "../../../src/base/Prng.ts"
import * as Session from "../../../src/session/Session.ts"
import * as SessionOperations from "../sessionOperations.ts"

const [directory, seed] = process.argv.slice(2)
const random = Prng.make(Number(seed))

const say = (text: string) => Effect.sync(() => writeSync(1, `${text}\n`))

const program = Effect.gen(function* () {
  const session = yield* Session.Session
  yield* say("opened")
  while (true) {
    const { torrents } = yield* session.list
    const hashes = new Set(torrents.map(({ infoHash }) => InfoHash.toHex(infoHash)))
    const operation = SessionOperations.draw(random, (number) =>
      hashes.has(InfoHash.toHex(SessionOperations.torrents[number]!.metainfo.infoHash))
    )
    if (operation._tag === "Remove") {
      // Files that were never verified are nobody's, and would stay.
      const { infoHash } = SessionOperations.torrents[operation.number]!.metainfo
      yield* Effect.flatMap(session.get(infoHash), ({ recheck }) => recheck)
    }
    yield* say(JSON.stringify(operation))
    yield* SessionOperations.run(session, directory!, operation)
    yield* say("done")
    // Sometimes the engine has time to begin, and sometimes it has none.
    if (Prng.integer(random, 2) === 0) yield* Effect.sleep(Prng.integer(random, 30))
  }
})

await Effect.runPromise(Effect.provide(program, SessionOperations.layerIn(directory!)))
