import { stripVTControlCharacters } from "node:util"
import { assert, describe, expect, it } from "@effect/vitest"
import type * as Progress from "../../../src/cli/Progress.ts"
import * as WatchState from "../../../src/cli/service/WatchState.ts"
import * as WatchView from "../../../src/cli/service/WatchView.ts"
import * as TerminalText from "../../../src/cli/TerminalText.ts"
import type { TorrentItem } from "../../../src/control/api/TorrentModel.ts"
import { all, MiB, paused, seed, service, torrent } from "./torrents.ts"

const plain = (columns: number, unicode = true): Progress.Style => ({ columns, color: false, unicode })

const names = {
  wide: "日本語の長い名前の映画 第一話 完全版",
  combining: "Cafe\u0301 de\u0301ja\u0300 vu",
  rightToLeft: "\u202eשלום עולם",
  hostile: "\x1b[2J\x1b]0;owned\x07evil\nname\u009b1m",
  emoji: "🎬 film"
}

const some: ReadonlyArray<TorrentItem> = [
  torrent("1", { name: "debian-13.2.0-amd64-netinst.iso", labels: ["linux"] }),
  torrent("2", { name: names.wide, downloadBytesPerSecond: 2.5 * MiB }),
  seed("3", { name: names.combining, labels: ["films", "old"] }),
  torrent("4", {
    name: names.rightToLeft,
    state: { _tag: "Failed", error: "piecewise/StorageError", message: "/srv/x: the disk\x1b[31m is full" },
    downloadBytesPerSecond: 0,
    uploadBytesPerSecond: 0
  }),
  paused("5", { name: names.hostile }),
  torrent("6", {
    name: names.emoji,
    progress: undefined,
    state: { _tag: "Active", state: { _tag: "FetchingMetadata" } },
    downloadBytesPerSecond: 0
  })
]

/** After a minute in which the rates went up and down. */
const watched = (torrents = some): WatchState.WatchState => {
  let state = WatchState.make("http://127.0.0.1:6880/")
  for (let second = 0; second < 60; second++) {
    const wave = 1 + Math.sin(second / 8)
    const rates = { downloadBytesPerSecond: wave * 5 * MiB, uploadBytesPerSecond: (2 - wave) * MiB }
    state = WatchState.update(state, all(torrents), service(rates))
  }
  return state
}

const widthOf = (line: string): number => TerminalText.width(stripVTControlCharacters(line))

describe("WatchView", () => {
  it.each([40, 80, 200])("fits %i columns", (columns) => {
    const lines = WatchView.render(WatchState.press(watched(), "down", 1), plain(columns), 16)

    assert.strictEqual(lines.length, 16)
    for (const line of lines) assert.isBelow(widthOf(line), columns, line)
    expect(`\n${lines.map((line) => line.trimEnd()).join("\n")}\n`).toMatchSnapshot()
  })

  it("needs no more than ASCII", () => {
    const state = watched([torrent("1", { name: "a" }), seed("2")])

    const lines = WatchView.render(state, plain(80, false), 16)

    expect(`\n${lines.map((line) => line.trimEnd()).join("\n")}\n`).toMatchSnapshot()
    assert.match(lines.join(""), /^[ -~]*$/)
  })

  it("fits every size, with and without colours", () => {
    for (let columns = 1; columns <= 210; columns += columns < 60 ? 1 : 7) {
      for (const rows of [1, 2, 3, 4, 5, 6, 7, 9, 12, 50]) {
        for (const style of [plain(columns), plain(columns, false), { ...plain(columns), color: true }]) {
          for (const state of [watched(), WatchState.make("u"), WatchState.withAway(watched(), "gone".repeat(50))]) {
            const lines = WatchView.render(WatchState.press(state, "end", 1), style, rows)
            assert.isAtMost(lines.length, Math.max(2, rows), `${columns} x ${rows}`)
            for (const line of lines) assert.isAtMost(widthOf(line), Math.max(1, columns - 1), `${columns} ${line}`)
          }
        }
      }
    }
  })

  it("lets no name write to the terminal", () => {
    const text = WatchView.render(WatchState.press(watched(), "end", 1), plain(200), 24).join("\n")

    for (const character of ["\x1b", "\x07", "\u009b", "\u202e"]) assert.notInclude(text, character)
    assert.include(text, "evil\ufffdname")
  })

  it("colours what needs somebody", () => {
    const lines = WatchView.render(watched(), { columns: 120, color: true, unicode: true }, 24)

    assert.isTrue(lines.some((line) => line.includes("\x1b[33mfailed\x1b[0m")))
    assert.isTrue(lines.some((line) => line.includes("\x1b[32mseeding\x1b[0m")))
  })

  it("keeps the chosen torrent on the screen", () => {
    const many = Array.from({ length: 100 }, (_, index) => torrent((index + 16).toString(16), { name: `nr ${index}.` }))
    let state = WatchState.update(WatchState.make("u"), all(many), service())
    for (let pressed = 0; pressed < 100; pressed++) {
      state = WatchState.press(state, "down", 5)
      const lines = WatchView.render(state, plain(80), 20)

      assert.strictEqual(lines.filter((line) => line.startsWith(`> nr ${pressed}.`)).length, 1)
      assert.strictEqual(lines.filter((line) => line.includes("nr ")).length, WatchView.pageLength(20) + 1)
    }
  })

  it("says that the service is away, and why the chosen torrent failed", () => {
    const away = WatchView.render(WatchState.withAway(watched(), "no service answers"), plain(80), 20)
    let state = watched()
    while (WatchState.chosenOf(state)?.state._tag !== "Failed") state = WatchState.press(state, "down", 1)
    const failed = WatchView.render(state, plain(120), 20)

    assert.strictEqual(away[0], "The service is away, and is asked again. no service answers")
    assert.include(failed.join("\n"), "40000000 · /srv/x: the disk\ufffd[31m is full · ")
  })

  it("writes a torrent as a line of a log", () => {
    assert.strictEqual(
      WatchView.line(torrent("1", { name: "a\nb" })),
      "a\ufffdb: downloading, 75.0%, 5.0 MiB/s, 512.0 KiB/s up, 10 s left, 12 peers"
    )
    assert.strictEqual(WatchView.line(paused("1", { progress: undefined })), "torrent 1: paused")
  })
})
