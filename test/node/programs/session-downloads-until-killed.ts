/**
 * Opens a session of twenty torrents, and does random things with them while they are downloaded, until it is killed:
 * `FOLDER SEED TRACKER`. Says when it begins to open it and when it has, what it is about to do, as JSON, and that it has
 * done it, and which torrents are verified.
 */
import { writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as Prng from "../../../src/base/Prng.ts"
import { Engine } from "../../../src/engine/Engine.ts"
import * as Session from "../../../src/session/Session.ts"
import * as SessionDownloads from "../sessionDownloads.ts"

const [directory, seed, tracker] = process.argv.slice(2)
const random = Prng.make(Number(seed))

/** Bytes per second of all torrents together: a run is killed while they are downloaded. */
const bytesPerSecond = 1_000_000

const say = (text: string) => Effect.sync(() => writeSync(1, `${text}\n`))

const program = Effect.gen(function* () {
  const engine = yield* Engine
  yield* Effect.forkScoped(
    Stream.runForEach(engine.events, ({ event, infoHash }) =>
      event._tag === "Checking" ? say(`checking ${InfoHash.toHex(infoHash)}`) : Effect.void
    ),
    { startImmediately: true }
  )
  const session = yield* Session.make
  yield* session.setLimits({ downloadBytesPerSecond: bytesPerSecond })
  yield* say("opened")
  // What an earlier kill has interrupted is finished first: nobody can do anything with such a torrent.
  const removing = Effect.map(session.list, ({ torrents }) => torrents.some(({ state }) => state._tag === "Removing"))
  while (yield* removing) yield* Effect.sleep("10 millis")
  for (let adding = true; ; ) {
    const { torrents } = yield* session.list
    const hashes = new Set(torrents.map(({ infoHash }) => InfoHash.toHex(infoHash)))
    const has = (number: number) => hashes.has(InfoHash.toHex(SessionDownloads.torrents[number]!.metainfo.infoHash))
    const missing = [...SessionDownloads.torrents.keys()].find((number) => !has(number))
    adding = adding && missing !== undefined
    const operation = adding ? ({ _tag: "Add", number: missing! } as const) : SessionDownloads.draw(random, has)
    yield* say(JSON.stringify(operation))
    yield* SessionDownloads.run(session, tracker!, operation)
    yield* say("done")
    if (!adding) yield* Effect.sleep(Prng.integer(random, 60))
  }
})

const opened = Effect.provide(Effect.scoped(program), SessionDownloads.layerIn(directory!))

await Effect.runPromise(Effect.andThen(say("opening"), opened))
