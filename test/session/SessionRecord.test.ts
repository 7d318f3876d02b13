import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SessionEntry from "../../src/session/SessionEntry.ts"
import * as SessionRecord from "../../src/session/SessionRecord.ts"
import type { StoreChange } from "../../src/session/SessionStore.ts"
import * as SessionDrawing from "../../src/testing/suite/SessionDrawing.ts"

const { torrentOf } = SessionDrawing

describe("SessionRecord", () => {
  it("changes nothing of a torrent that was removed, in whose place another may be", () => {
    const commits: Array<ReadonlyArray<StoreChange>> = []
    const store = { commit: (changes: ReadonlyArray<StoreChange>) => Effect.sync(() => void commits.push(changes)) }
    const self = { store } as unknown as SessionRecord.SessionRecord
    const [gone, other] = [SessionEntry.make(torrentOf(1)), SessionEntry.make(torrentOf(2))]
    gone.isGone = true
    const rename = (saved: typeof other.saved, index: number) => ({ ...saved, name: `new ${index}` })

    Effect.runSync(SessionRecord.updateAllHeld(self, [gone], rename, [{ _tag: "RemoveLabel", name: "a" }]))
    Effect.runSync(SessionRecord.updateAllHeld(self, [gone, other], rename))

    assert.deepStrictEqual(commits, [[{ _tag: "SetTorrent", torrent: torrentOf(2, { name: "new 1" }) }]])
    assert.strictEqual(other.saved.name, "new 1")
  })
})
