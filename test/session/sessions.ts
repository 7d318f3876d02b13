/**
 * Sessions in a simulated world, whose time moves by itself while a program waits. The store, the files and the resume
 * data outlive each session.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Engine } from "../../src/engine/Engine.ts"
import type { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as TorrentFile from "../../src/metainfo/TorrentFile.ts"
import * as MemorySessionStore from "../../src/session/provider/memory/MemorySessionStore.ts"
import * as Session from "../../src/session/Session.ts"
import type { SessionState } from "../../src/session/SessionStatus.ts"
import type { SessionStore } from "../../src/session/SessionStore.ts"
import * as TorrentFolders from "../../src/session/TorrentFolders.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { seed } from "../simulation/torrents.ts"

/** Runs a program with the session that the store has, until it ends. */
export const session = <A, E, R>(program: (session: Session.Session["Service"]) => Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(Session.make, program))

/** What a test has. */
export type Needs =
  | TestEngine.Provided
  | TestEngine.Controls
  | PieceHasher
  | SessionStore
  | MemorySessionStore.MemorySessionStore
  | TorrentFolders.TorrentFolders
  | Scope.Scope

/** A test in a world of its own, with an empty store. */
export const test = <E>(name: string, program: Effect.Effect<void, E, Needs>): void =>
  it.effect(name, () =>
    TestEngine.run(Effect.provide(program, [MemorySessionStore.layer, TorrentFolders.layer]), {
      seed,
      engine: { listen: { port: 6_881 } }
    })
  )

/** The bytes of the torrent file of a known torrent. */
export const fileOf = (known: KnownTorrent) => ({ metainfo: TorrentFile.encode(known.metainfo) })

/** Names a state, and what it is in the engine. */
export const nameOf = (state: SessionState): string =>
  state._tag === "Active" ? `Active ${state.state._tag}` : state._tag

/** The states of all torrents, in the order of the queue. */
export const statesOf = (opened: Session.Session["Service"]) =>
  Effect.map(opened.list, ({ torrents }) => torrents.map(({ state }) => nameOf(state)))

/** Waits until a torrent is in a state, for ten minutes at most. */
export const until = Effect.fnUntraced(function* (torrent: Session.SessionTorrent, ...names: ReadonlyArray<string>) {
  let name = ""
  for (let second = 0; second < 600; second++) {
    name = nameOf((yield* torrent.status).state)
    if (names.includes(name)) return
    yield* Effect.sleep("1 second")
  }
  assert.fail(`it is ${name}, and not ${names.join(" or ")}`)
})

/** The names of the torrents that are in the engine. */
export const inEngine = Effect.flatMap(Engine, ({ torrents }) =>
  Effect.flatMap(torrents, (all) => Effect.forEach(all, ({ name }) => name))
)
