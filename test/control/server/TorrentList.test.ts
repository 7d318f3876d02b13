import { assert, describe, it } from "@effect/vitest"
import { type SortKey, sortKeys } from "../../../src/control/api/TorrentModel.ts"
import * as TorrentList from "../../../src/control/server/TorrentList.ts"
import type { SessionStatus } from "../../../src/session/SessionStatus.ts"
import { MiB, paused, seed, torrent } from "../../cli/service/torrents.ts"

/** Four torrents in the order of the queue, each first by another key. */
const torrents: ReadonlyArray<SessionStatus> = [
  torrent("1", { name: "Film 10", downloadBytesPerSecond: 1, addedAtMillis: 4, labels: ["a"] }),
  seed("2", { name: "film 9", completedAtMillis: 8, addedAtMillis: 3, uploadBytesPerSecond: 9 * MiB }),
  paused("3", { name: "Ärger", progress: undefined, addedAtMillis: 2, shareRatio: 0, labels: ["b", "a"] }),
  torrent("4", {
    name: "zebra",
    addedAtMillis: 1,
    completedAtMillis: 2,
    progress: { totalBytes: 1, wantedBytes: 0, missingBytes: 0 }
  })
]

const list = { revision: "run.4", torrents, unreadable: [{ what: "limits", key: "", why: "damaged" }] } as const

const digits = ({ torrents }: { readonly torrents: ReadonlyArray<SessionStatus> }) =>
  torrents.map(({ position }) => position).join("")

const sorted = (sort: SortKey, order?: "ascending" | "descending") => digits(TorrentList.pageOf(list, { sort, order }))

describe("TorrentList.pageOf", () => {
  it("is the first hundred in the order of the queue by default", () => {
    const many = Array.from({ length: 150 }, (_, index) => torrent((index + 1).toString(16)))
    const page = TorrentList.pageOf({ ...list, torrents: many }, {})

    assert.deepStrictEqual([page.total, page.torrents.length, page.torrents[99]?.position], [150, 100, 100])
    assert.deepStrictEqual([page.revision, page.unreadable], [list.revision, list.unreadable])
  })

  it("sorts by every key, both ways", () => {
    const orders: Record<SortKey, string> = {
      queue: "1234",
      name: "3214",
      size: "3412",
      progress: "3124",
      added: "4321",
      completed: "4213",
      ratio: "3142",
      download: "2314",
      upload: "3142"
    }
    for (const key of sortKeys) assert.strictEqual(sorted(key), orders[key], key)
    assert.strictEqual(sorted("queue", "descending"), "4321")
    assert.strictEqual(sorted("name", "descending"), "4123")
    assert.strictEqual(sorted("completed", "descending"), "2413")
  })

  it("keeps the order of the queue between equals, and the list as it was", () => {
    const equal = [torrent("1"), torrent("2"), torrent("3")]
    for (const sort of sortKeys.filter((key) => key !== "queue" && key !== "name")) {
      for (const order of ["ascending", "descending"] as const) {
        assert.strictEqual(digits(TorrentList.pageOf({ ...list, torrents: equal }, { sort, order })), "123", sort)
      }
    }
    sorted("added", "descending")
    assert.strictEqual(digits(list), "1234")
  })

  it("filters by kind, label and a part of the name together, and counts before it cuts", () => {
    const page = (query: TorrentList.Query) => TorrentList.pageOf(list, query)
    assert.strictEqual(digits(page({ label: "a" })), "13")
    assert.strictEqual(digits(page({ search: "FILM" })), "12")
    assert.strictEqual(digits(page({ search: ".*" })), "")
    assert.strictEqual(digits(page({ kind: "paused" })), "3")
    assert.strictEqual(digits(page({ kind: "paused", label: "x" })), "")
    const cut = page({ search: "film", limit: 1, offset: 1 })
    assert.deepStrictEqual([digits(cut), cut.total], ["2", 2])
    assert.deepStrictEqual([digits(page({ offset: 4 })), page({ offset: 1e9 }).total], ["", 4])
  })
})

describe("TorrentList.kindOf", () => {
  it.each<[string, SessionStatus["state"]]>([
    ["downloading", { _tag: "Active", state: { _tag: "Downloading" } }],
    ["downloading", { _tag: "Active", state: { _tag: "FetchingMetadata" } }],
    ["checking", { _tag: "Active", state: { _tag: "Checking" } }],
    ["checking", { _tag: "Moving" }],
    ["queued", { _tag: "Queued" }],
    ["paused", { _tag: "Paused" }],
    ["paused", { _tag: "Removing" }],
    ["failed", { _tag: "Failed", error: "x", message: "y" }],
    ["failed", { _tag: "Active", state: { _tag: "FilesMissing" } }],
    ["finished", { _tag: "GoalReached", reached: "ratio" }]
  ])("is %s in the state %o", (kind, state) => {
    assert.strictEqual(TorrentList.kindOf(torrent("1", { state })), kind)
  })

  it("is seeding when nothing wanted is missing", () => {
    assert.strictEqual(TorrentList.kindOf(seed("1")), "seeding")
  })
})
