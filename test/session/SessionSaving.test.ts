import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as MemorySessionStore from "../../src/session/provider/memory/MemorySessionStore.ts"
import type * as Session from "../../src/session/Session.ts"
import {
  SessionStore,
  SessionStoreError,
  type StoreChange,
  StoreDamaged,
  StoreFull,
  type StoreReason,
  StoreUnavailable
} from "../../src/session/SessionStore.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { make, other, small } from "../simulation/torrents.ts"
import { fileOf, session, statesOf, test, until } from "./sessions.ts"

const third = await make({ name: "third", seed: 3, pieceLength: 32_768, files: [{ path: [], length: 100_000 }] })

type Store = SessionStore["Service"]

/** Runs a program with a store that commits in another way. */
const committing = <A, E, R>(program: Effect.Effect<A, E, R>, commit: (store: Store) => Store["commit"]) =>
  Effect.flatMap(SessionStore, (store) =>
    Effect.provideService(program, SessionStore, SessionStore.of({ ...store, commit: commit(store) }))
  )

/** Runs a program with a store whose commits take a while, one after the other. */
const slowly = <A, E, R>(program: Effect.Effect<A, E, R>) => {
  const turn = Semaphore.makeUnsafe(1)
  return committing(
    program,
    ({ commit }) =>
      (changes) =>
        turn.withPermit(Effect.andThen(Effect.sleep("100 millis"), commit(changes)))
  )
}

const joinSmall = TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))

describe("what a session saves while it saves something else", () => {
  test(
    "is not undone by torrents that are numbered anew",
    slowly(
      session((session) =>
        Effect.gen(function* () {
          const store = yield* SessionStore
          const [first, second, last] = yield* Effect.forEach([small, other, third], (known) =>
            session.add(fileOf(known))
          )
          const { commits } = yield* MemorySessionStore.MemorySessionStore
          // Numbers end after some fifty moves.
          for (let turn = 0; turn < 60; turn++) {
            const isEven = turn % 2 === 0
            const [moved, next] = isEven ? [last!, second!] : [second!, last!]
            const works = [isEven ? first!.pause : first!.resume(), moved.move({ before: next.infoHash })]
            yield* Effect.all(works, { concurrency: "unbounded" })

            const saved = (yield* store.load).torrents.map(({ name, position, wanted }) => [
              name,
              position,
              wanted._tag === "Paused"
            ])
            const listed = (yield* session.list).torrents.map(({ name, position, state }) => [
              name,
              position,
              state._tag === "Paused"
            ])
            assert.deepStrictEqual(saved, listed, `move ${turn}`)
          }
          assert.isTrue(commits().some(({ length }) => length === 3))
        })
      )
    )
  )

  test(
    "is not undone by an error that ends the torrent meanwhile",
    slowly(
      session((session) =>
        Effect.gen(function* () {
          yield* joinSmall
          const { medium } = yield* TestEngine.TestEngine
          const torrent = yield* session.add(fileOf(small))
          yield* until(torrent, "Active Complete")
          const inside = Option.getOrThrow(yield* torrent.torrent)
          const pausing = yield* Effect.forkChild(torrent.pause, { startImmediately: true })
          medium.put("known/a.bin", new Uint8Array(500_000))
          yield* Effect.ignore(inside.recheck)
          yield* Fiber.join(pausing)
          const end = yield* inside.status
          yield* Effect.sleep("10 seconds")

          assert.strictEqual(end.state._tag, "Failed")
          assert.deepStrictEqual(yield* statesOf(session), ["Paused"])
          assert.strictEqual((yield* (yield* SessionStore).load).torrents[0]?.wanted._tag, "Paused")
        })
      )
    )
  )
})

describe("the metadata of a magnet link", () => {
  const { infoHash, layout } = small.metainfo
  const magnet = `magnet:?xt=urn:btih:${InfoHash.toHex(infoHash)}`
  const isMetadata = (changes: ReadonlyArray<StoreChange>) => changes.some(({ _tag }) => _tag === "SetSource")

  test(
    "is saved with its name and the files that the link selects, which are those of the next run",
    Effect.gen(function* () {
      yield* joinSmall
      const progressOf = Effect.fnUntraced(function* (torrent: Session.SessionTorrent) {
        yield* until(torrent, "Active Complete")
        yield* Effect.sleep("1 minute")
        return (yield* torrent.status).progress
      })
      const add = (session: Session.Session["Service"]) => session.add({ magnet: `${magnet}&so=2` })
      const before = yield* session((session) => Effect.flatMap(add(session), progressOf))
      const after = yield* session((session) => Effect.flatMap(session.get(infoHash), progressOf))
      const { commits } = yield* MemorySessionStore.MemorySessionStore

      assert.deepStrictEqual(after, before)
      assert.isBelow(before!.wantedBytes, layout.geometry.totalLength)
      assert.deepStrictEqual(
        commits()
          .filter(isMetadata)
          .map((changes) => changes.map(({ _tag }) => _tag)),
        [["SetSource", "SetFiles", "SetTorrent"]]
      )
    })
  )

  test(
    "is saved later if that fails at first",
    Effect.gen(function* () {
      yield* joinSmall
      const store = yield* SessionStore
      const full = new SessionStoreError({ operation: "commit", reason: new StoreFull({ path: "session.db" }) })
      let failures = 0
      yield* committing(
        session((session) =>
          Effect.gen(function* () {
            const torrent = yield* session.add({ magnet })
            yield* until(torrent, "Active Complete")
            yield* Effect.sleep("1 minute")
          })
        ),
        ({ commit }) =>
          (changes) =>
            isMetadata(changes) && failures++ < 2 ? Effect.fail(full) : commit(changes)
      )

      assert.isAtLeast(failures, 3)
      assert.strictEqual((yield* store.content(infoHash))?.source._tag, "Metainfo")
      assert.strictEqual((yield* store.load).torrents[0]?.name, "known")
    })
  )

  test(
    "is saved before the files of the torrent are moved",
    Effect.gen(function* () {
      yield* joinSmall
      const full = new SessionStoreError({ operation: "commit", reason: new StoreFull({ path: "session.db" }) })
      let isFull = true
      const found = yield* committing(
        session((session) =>
          Effect.gen(function* () {
            const torrent = yield* session.add({ magnet })
            yield* until(torrent, "Active Complete")
            const first = yield* Effect.flip(torrent.moveTo("films"))
            isFull = false
            const second = yield* Effect.flip(torrent.moveTo("films"))
            return [first._tag, second._tag, (yield* torrent.status).options.folder]
          })
        ),
        ({ commit }) =>
          (changes) =>
            isFull && isMetadata(changes) ? Effect.fail(full) : commit(changes)
      )

      // Files in memory are in no folder.
      assert.deepStrictEqual(found, ["piecewise/NotOpened", "piecewise/StorageError", undefined])
    })
  )
})

describe("fault 106: a store that fails while a torrent is opened", () => {
  const { infoHash } = small.metainfo

  /** Runs a program with a store that fails to read the content of torrents as often as that. */
  const failing = <A, E, R>(program: Effect.Effect<A, E, R>, times: number, reason: StoreReason) =>
    Effect.flatMap(SessionStore, (store) => {
      let left = times
      const error = new SessionStoreError({ operation: "content", reason })
      const content: Store["content"] = (hash) => (left-- > 0 ? Effect.fail(error) : store.content(hash))
      return Effect.provideService(program, SessionStore, SessionStore.of({ ...store, content }))
    })

  test(
    "is asked again, at ever longer intervals, if that may pass",
    Effect.gen(function* () {
      yield* joinSmall
      yield* failing(
        session((session) =>
          Effect.gen(function* () {
            const torrent = yield* session.add(fileOf(small))
            yield* Effect.sleep("6 seconds")
            const early = yield* statesOf(session)
            yield* Effect.sleep("3 seconds")
            yield* until(torrent, "Active Complete")

            assert.deepStrictEqual(early, ["Queued"])
          })
        ),
        3,
        new StoreUnavailable({ path: "session.db", why: "disk I/O error" })
      )
    })
  )

  test(
    "is not asked again if it is damaged",
    failing(
      session((session) =>
        Effect.gen(function* () {
          yield* joinSmall
          const torrent = yield* session.add(fileOf(small))
          yield* until(torrent, "Failed")
          yield* Effect.sleep("1 minute")
          assert.deepStrictEqual(yield* statesOf(session), ["Failed"])
          yield* torrent.resume()
          yield* until(torrent, "Active Complete")
        })
      ),
      1,
      new StoreDamaged({ path: "session.db", why: "no such column" })
    )
  )

  test(
    "is not asked again for a torrent that is paused meanwhile",
    failing(
      session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.add(fileOf(small))
          yield* Effect.sleep("500 millis")
          yield* torrent.pause
          yield* Effect.sleep("5 minutes")
          assert.deepStrictEqual(yield* statesOf(session), ["Paused"])
        })
      ),
      Number.POSITIVE_INFINITY,
      new StoreUnavailable({ path: "session.db", why: "disk I/O error" })
    )
  )

  test(
    "and cannot read a torrent keeps the session from nothing else, and the torrent from being replaced",
    Effect.flatMap(SessionStore, (store) => {
      const hex = InfoHash.toHex(infoHash)
      const unreadable = [
        { what: "torrent" as const, key: hex, why: "why" },
        { what: "label" as const, key: "films", why: "why" }
      ]
      const load = Effect.map(store.load, (saved) => ({ ...saved, unreadable }))
      return Effect.provideService(
        session((session) =>
          Effect.gen(function* () {
            const early = (yield* session.list).unreadable
            const refused = yield* Effect.flip(session.add(fileOf(small)))
            yield* session.add(fileOf(other), { isPaused: true })
            yield* session.setLabel({ name: "films" })

            assert.deepStrictEqual(early, unreadable)
            assert.strictEqual(refused._tag, "piecewise/AlreadyInSession")
            assert.deepStrictEqual(
              [yield* statesOf(session), (yield* session.list).unreadable],
              [["Paused"], unreadable.slice(0, 1)]
            )
          })
        ),
        SessionStore,
        SessionStore.of({ ...store, load })
      )
    })
  )
})
