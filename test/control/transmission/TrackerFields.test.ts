import { assert, describe, it } from "@effect/vitest"
import * as TorrentFields from "../../../src/control/transmission/TorrentFields.ts"
import * as TorrentView from "../../../src/control/transmission/TorrentView.ts"
import * as TrackerFields from "../../../src/control/transmission/TrackerFields.ts"
import type { SourceStatus } from "../../../src/torrent/SourceStatus.ts"

const first = "https://tracker.one.example:8443/path/announce?key=secret"
const second = "udp://10.0.0.1:80/announce"

const answered: SourceStatus = {
  source: first,
  reportedMillisAgo: 5_000,
  hasAnswered: true,
  peers: 7,
  seeders: 3,
  leechers: 4
}
const failed: SourceStatus = {
  source: second,
  reportedMillisAgo: 1,
  hasAnswered: false,
  peers: 0,
  failure: "timed out"
}

const view = (
  sources: ReadonlyArray<SourceStatus>,
  trackers?: ReadonlyArray<ReadonlyArray<string>>
): TorrentView.TorrentView => ({
  ...TorrentView.bare({
    id: 1,
    status: { state: { _tag: "Paused" } } as TorrentView.Basis["status"],
    place: 0,
    directory: "/",
    now: 1_000_000_000,
    transferredMillisAgo: undefined
  }),
  sources,
  metainfo: trackers && ({ trackers } as unknown as TorrentView.TorrentView["metainfo"])
})

const errorOf = (sources: ReadonlyArray<SourceStatus>) =>
  TorrentFields.toObject(TorrentFields.known(["error", "errorString"]), view(sources))

describe("TrackerFields", () => {
  it("lists the trackers in their tiers", () => {
    const both = view([], [[first, "http://b.example/a"], [second]])

    assert.deepStrictEqual(TrackerFields.list(both), [
      {
        id: 0,
        announce: first,
        scrape: "https://tracker.one.example:8443/path/scrape?key=secret",
        sitename: "one",
        tier: 0
      },
      { id: 1, announce: "http://b.example/a", scrape: "", sitename: "b", tier: 0 },
      { id: 2, announce: second, scrape: second, sitename: "10.0.0.1", tier: 1 }
    ])
    assert.strictEqual(TrackerFields.text(both), `${first}\nhttp://b.example/a\n\n${second}`)
  })

  it("says what each of them said last", () => {
    const [one, two, three] = TrackerFields.statistics(
      view([answered, failed], [[first], [second], ["http://c.example/"]])
    )

    assert.deepInclude(one, {
      host: "https://tracker.one.example:8443",
      hasAnnounced: true,
      lastAnnounceSucceeded: true,
      lastAnnounceResult: "Success",
      lastAnnouncePeerCount: 7,
      lastAnnounceTime: 999_995,
      seederCount: 3,
      leecherCount: 4
    })
    assert.deepInclude(two, { lastAnnounceSucceeded: false, lastAnnounceResult: "timed out", seederCount: -1 })
    assert.deepInclude(three, { hasAnnounced: false, lastAnnounceTime: 0, lastAnnounceResult: "" })
  })

  it("knows the trackers of a magnet link once they have reported something", () => {
    assert.deepStrictEqual(
      TrackerFields.list(view([failed, { ...answered, source: "DHT" }])).map(({ announce }) => announce),
      [second]
    )
  })

  it("has an error while every tracker fails, and else a warning", () => {
    assert.deepStrictEqual(errorOf([failed]), { error: 2, errorString: "timed out" })
    assert.deepStrictEqual(errorOf([failed, answered]), { error: 0, errorString: "" })
    assert.deepStrictEqual(errorOf([]), { error: 0, errorString: "" })
    assert.deepStrictEqual(errorOf([{ ...answered, warning: "slow down" }]), { error: 1, errorString: "slow down" })
  })
})
