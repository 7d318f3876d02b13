import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as MemoryResumeStore from "../../src/resume/provider/MemoryResumeStore.ts"
import { ResumeStore } from "../../src/resume/ResumeStore.ts"
import { draw, drawn, hashOf, pieces, record, suite } from "./ResumeStore.suite.ts"

suite(
  "memory",
  MemoryResumeStore.layer,
  Effect.flatMap(MemoryResumeStore.MemoryResumeStore, (inside) => inside.cutPower)
)

it.effect("MemoryResumeStore shows what was saved, and how often", () =>
  Effect.gen(function* () {
    const inside = yield* MemoryResumeStore.MemoryResumeStore
    const resume = yield* (yield* ResumeStore).open({ infoHash: hashOf(1), pieceCount: 4, fileCount: 1 })
    yield* resume.save({ stored: drawn("*..."), flushed: drawn("*..."), files: new Map([[0, record("a")]]) })
    yield* resume.append({ stored: pieces(2) })

    const saved = inside.saved(hashOf(1))

    assert.strictEqual(draw(saved!.stored), "*.*.")
    assert.deepStrictEqual([...saved!.files], [[0, record("a")]])
    assert.strictEqual(inside.saveCount(), 1)
    assert.strictEqual(inside.saved(hashOf(2)), undefined)
  }).pipe(Effect.provide(MemoryResumeStore.layer))
)
