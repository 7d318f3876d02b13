import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Property from "../../src/testing/Property.ts"
import type { Present } from "../../src/torrent/TorrentChange.ts"
import * as TorrentChange from "../../src/torrent/TorrentChange.ts"
import * as Watch from "../../src/torrent/Watch.ts"

const pieceCount = 12

/** A torrent that tests change. */
const makeSubject = () => {
  const watch = Watch.make()
  const suspects = Bitfield.make(pieceCount)
  const subject = {
    watch,
    state: { _tag: "Downloading" } as Present["state"],
    epoch: 0,
    stored: Bitfield.make(pieceCount),
    suspects,
    wanted: Bitfield.full(pieceCount),
    hasEnded: false
  }
  const { changes } = TorrentChange
  return {
    subject,
    stream: changes(
      watch,
      () => subject,
      () => subject.hasEnded
    )
  }
}

/** What a reader believes after it has read some changes. */
const believe = (changes: ReadonlyArray<TorrentChange.TorrentChange>) => {
  const belief = { stored: new Set<number>(), wanted: new Set<number>(), state: "" }
  for (const change of changes) {
    switch (change._tag) {
      case "Current":
        belief.stored = new Set(Bitfield.indices(change.stored))
        belief.wanted = new Set(Bitfield.indices(change.wanted))
        belief.state = change.state._tag
        break
      case "Stored":
        for (const piece of change.pieces) {
          assert.isFalse(belief.stored.has(piece), "it was told that before")
          belief.stored.add(piece)
        }
        break
      case "Lost":
        for (const piece of change.pieces) assert.isTrue(belief.stored.delete(piece), "it was not told of it")
        break
      case "Selected":
        belief.wanted = new Set(Bitfield.indices(change.wanted))
        break
      case "StateChanged":
        belief.state = change.state._tag
    }
  }
  return belief
}

const step = fc.oneof(
  fc.record({
    what: fc.constantFrom("store", "lose", "suspect", "clear", "unwant", "want"),
    piece: fc.nat(pieceCount - 1)
  }),
  fc.record({ what: fc.constantFrom("complete", "download", "restart", "read"), piece: fc.constant(0) })
)

describe("TorrentChange", () => {
  it.effect("law: whoever reads, late or slowly, believes what is so", () =>
    Property.check(
      fc.record({ steps: fc.array(step, { maxLength: 40 }), lateAfter: fc.nat(20) }),
      Effect.fnUntraced(function* ({ lateAfter, steps }) {
        const { stream, subject } = makeSubject()
        const read: Array<TorrentChange.TorrentChange> = []
        const reader = yield* Effect.forkChild(
          Stream.runForEach(stream, (change) => Effect.sync(() => void read.push(change)))
        )
        let late: Fiber.Fiber<ReadonlyArray<TorrentChange.TorrentChange>> | undefined
        for (const [index, { piece, what }] of steps.entries()) {
          if (index === lateAfter) late = yield* Effect.forkChild(Stream.runCollect(stream))
          if (what === "store") Bitfield.add(subject.stored, piece)
          if (what === "lose") Bitfield.remove(subject.stored, piece)
          if (what === "suspect") Bitfield.add(subject.suspects, piece)
          if (what === "clear") Bitfield.remove(subject.suspects, piece)
          if (what === "unwant") Bitfield.remove(subject.wanted, piece)
          if (what === "want") Bitfield.add(subject.wanted, piece)
          if (what === "complete" || what === "download")
            subject.state = { _tag: what === "complete" ? "Complete" : "Downloading" }
          if (what === "restart") subject.epoch++
          Watch.wake(subject.watch)
          if (what === "read") yield* Effect.yieldNow
        }
        subject.hasEnded = true
        Watch.wake(subject.watch)
        yield* Fiber.join(reader)

        const { stored, suspects } = subject
        const right = {
          stored: new Set([...Bitfield.indices(stored)].filter((piece) => !Bitfield.has(suspects, piece))),
          wanted: new Set(Bitfield.indices(subject.wanted)),
          state: subject.state._tag
        }
        assert.deepStrictEqual(believe(read), right)
        if (late !== undefined) assert.deepStrictEqual(believe(yield* Fiber.join(late)), right)
      })
    )
  )

  it.effect("gives a slow reader what changed meanwhile at once, however much that was", () =>
    Effect.gen(function* () {
      const { stream, subject } = makeSubject()
      const seen: Array<string> = []
      const reader = yield* Effect.forkChild(
        Stream.runForEach(stream, ({ _tag }) =>
          Effect.andThen(
            Effect.sync(() => seen.push(_tag)),
            Effect.yieldNow
          )
        )
      )
      yield* Effect.yieldNow
      for (let round = 0; round < 10_000; round++) {
        if (!Bitfield.remove(subject.stored, 3)) Bitfield.add(subject.stored, 3)
        Watch.wake(subject.watch)
      }
      Bitfield.add(subject.stored, 5)
      subject.hasEnded = true
      Watch.wake(subject.watch)
      yield* Fiber.join(reader)

      assert.deepStrictEqual(seen, ["Current", "Stored"])
    })
  )
})
