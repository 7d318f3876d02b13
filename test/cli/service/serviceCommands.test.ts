import { writeFile } from "node:fs/promises"
import * as path from "node:path"
import { assert, describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import * as Add from "../../../src/cli/service/Add.ts"
import * as Label from "../../../src/cli/service/Label.ts"
import * as Limits from "../../../src/cli/service/Limits.ts"
import * as Link from "../../../src/cli/service/Link.ts"
import * as List from "../../../src/cli/service/List.ts"
import * as Move from "../../../src/cli/service/Move.ts"
import * as Pause from "../../../src/cli/service/Pause.ts"
import * as Recheck from "../../../src/cli/service/Recheck.ts"
import * as Remove from "../../../src/cli/service/Remove.ts"
import * as Resume from "../../../src/cli/service/Resume.ts"
import * as ServiceCommands from "../../../src/cli/service/ServiceCommands.ts"
import * as ServiceLines from "../../../src/cli/service/ServiceLines.ts"
import * as Show from "../../../src/cli/service/Show.ts"
import * as TorrentModel from "../../../src/control/api/TorrentModel.ts"
import { folderScoped } from "../program.ts"
import { run, start } from "./server.ts"
import { paused, seed, torrent } from "./torrents.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(ServiceLines.Line))

/** The one line of JSON that was printed. */
const lineOf = (printed: ReadonlyArray<string>) => {
  assert.strictEqual(printed.length, 1, printed.join("\n"))
  return decode(JSON.parse(printed[0]!), { onExcessProperty: "error" })
}

const films = [
  torrent("1234", { name: "Alpha" }),
  seed("1235", { name: "Beta", labels: ["films"] }),
  paused("9999", { name: "alphabet \x1b[2J" })
]

describe("commands for a service", () => {
  it("know the values of the API", () => {
    assert.deepStrictEqual([...ServiceCommands.sortKeys], [...TorrentModel.sortKeys])
    assert.deepStrictEqual([...ServiceCommands.kinds], [...TorrentModel.kinds])
  })

  it.live("list torrents in a table", () =>
    Effect.gen(function* () {
      const { state } = yield* start(films)

      const { printed } = yield* run(List.run, ["list", "--state", state])

      expect(`\n${printed.join("\n")}\n`).toMatchSnapshot()
      for (const line of printed) assert.strictEqual(line, line.trimEnd())
    })
  )

  it.live("list what the options describe", () =>
    Effect.gen(function* () {
      const { state } = yield* start(films)
      const names = (words: ReadonlyArray<string>) =>
        Effect.map(run(List.run, ["list", "--json", "--state", state, ...words]), ({ printed }) => {
          const line = lineOf(printed)
          return line._tag === "Listed" ? line.torrents.map(({ name }) => name.slice(0, 5)) : []
        })

      assert.deepStrictEqual(yield* names([]), ["Alpha", "Beta", "alpha"])
      assert.deepStrictEqual(yield* names(["--label", "films"]), ["Beta"])
      assert.deepStrictEqual(yield* names(["--kind", "paused"]), ["alpha"])
      assert.deepStrictEqual(yield* names(["--search", "PHAB"]), ["alpha"])
      assert.deepStrictEqual(yield* names(["--sort", "size", "--reverse"]), ["Beta", "Alpha", "alpha"])
      const nothing = yield* run(List.run, ["list", "--state", state, "--label", "none"])
      assert.deepStrictEqual([nothing.printed, nothing.notes], [[], ["There are no such torrents."]])
    })
  )

  it.live("say what a service cannot read", () =>
    Effect.gen(function* () {
      const { fake, state } = yield* start(films)
      fake.unreadable.push({ what: "torrent", key: "abcd", why: "it is\nodd" }, { what: "limits", key: "", why: "odd" })

      const { notes, printed } = yield* run(List.run, ["list", "--state", state])
      const json = yield* run(List.run, ["list", "--state", state, "--json"])

      assert.deepStrictEqual(notes, [
        "The service cannot read what it has saved: torrent abcd: it is\nodd",
        "The service cannot read what it has saved: limits: odd"
      ])
      assert.strictEqual(printed.length, 4)
      assert.deepInclude(lineOf(json.printed), { unreadable: fake.unreadable })
    })
  )

  it.live("cut a table on a terminal", () =>
    Effect.gen(function* () {
      const { state } = yield* start([torrent("1", { name: "x".repeat(300) })])

      const { printed } = yield* run(List.run, ["list", "--state", state], true)

      assert.isAtMost(Math.max(...printed.map(({ length }) => length)), 60)
      assert.include(printed[1], "…")
    })
  )

  it.live("list five thousand torrents page by page", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 5_000 }, (_, index) => torrent((index + 65_536).toString(16)))
      const { state } = yield* start(many)

      const { printed } = yield* run(List.run, ["list", "--state", state])

      assert.strictEqual(printed.length, 5_001)
      assert.strictEqual(new Set(printed).size, 5_001)
    })
  )

  it.live.each([
    ["1234", "Alpha"],
    ["12340", "Alpha"],
    ["12340000000000000000000000000000000000000".slice(0, 40), "Alpha"],
    ["ETA", "Beta"],
    ["Alpha", "Alpha"],
    ["alphab", "alphabet \ufffd[2J"]
  ])("find a torrent by %s", ([word, name]) =>
    Effect.gen(function* () {
      const { state } = yield* start(films)

      const { printed, why } = yield* run(Pause.run, ["pause", "--state", state, word!])

      assert.isUndefined(why)
      assert.include(printed[0], `  ${name}: paused`)
    })
  )

  it.live.each([
    ["gamma", "gamma: there is no such torrent"],
    ["alpha", "alpha: 2 torrents may be meant: 12340000 Alpha, 99990000 alphabet \ufffd[2J"],
    ["123", "123: there is no such torrent"],
    ["0".repeat(40), `${"0".repeat(40)}: there is no such torrent`]
  ])("say why %s is no torrent", ([word, sentence]) =>
    Effect.gen(function* () {
      const { fake, state } = yield* start(films)

      const { printed, why } = yield* run(Pause.run, ["pause", "--state", state, "Beta", word!])

      assert.deepStrictEqual([why, printed, fake.calls], [sentence, [], []])
    })
  )

  it.live("change several torrents, each once", () =>
    Effect.gen(function* () {
      const { fake, state } = yield* start(films)
      const at = ["--state", state]

      yield* run(Pause.run, ["pause", ...at, "Alpha", "1234", "Beta"])
      yield* run(Pause.run, ["pause", ...at, "--all"])
      yield* run(Resume.run, ["resume", ...at, "Beta", "--overwrite"])
      yield* run(Recheck.run, ["recheck", ...at, "Beta"])
      yield* run(Move.run, ["move", ...at, "--first", "Alpha", "Beta"])
      yield* run(Label.run, ["label", ...at, "Beta", "--add", "new", "--remove", "films", "--add", "new"])

      assert.deepStrictEqual(
        fake.calls
          .slice(0, 5)
          .map(([operation, name]) => `${operation} ${name}`)
          .sort(),
        ["pause Alpha", "pause Alpha", "pause Beta", "pause Beta", "pause alphabet \x1b[2J"]
      )
      assert.deepStrictEqual(fake.calls.slice(5), [
        ["resume", "Beta", { overwrite: true, startOver: false }],
        ["recheck", "Beta"],
        ["move", "Beta", { place: "first" }],
        ["move", "Alpha", { place: "first" }],
        ["update", "Beta", { labels: ["new"] }]
      ])
    })
  )

  it.live("refuse wrong usage", () =>
    Effect.gen(function* () {
      const { state } = yield* start(films)
      const why = (program: Parameters<typeof run>[0], ...words: ReadonlyArray<string>) =>
        Effect.map(run(program, [...words, "--state", state]), (ended) => ended.why)

      assert.include(yield* why(Pause.run, "pause"), "TORRENT is missing")
      assert.include(yield* why(Pause.run, "pause", "Beta", "--all"), "cannot be used together")
      assert.include(yield* why(Move.run, "move", "Beta"), "--first or --last")
      assert.include(yield* why(Move.run, "move", "Beta", "--first", "--last"), "--first or --last")
      assert.include(yield* why(Label.run, "label", "Beta"), "--add or --remove")
      assert.include(yield* why(Limits.run, "limits", "--down", "fast"), "--down fast is not a rate")
      assert.include(yield* why(Limits.run, "limits", "--seeds", "1.5"), "--seeds 1.5 is not a number of torrents")
      assert.include(yield* why(Add.run, "add", "magnet:?x", "--limit-up", "0"), "--limit-up 0 is not a rate")
      const long = "x".repeat(5_000)
      assert.include(
        yield* why(Add.run, "add", "magnet:?x", "--label", "a", "--label", long),
        "--label cannot be used: Expected a value with a length of at most 128"
      )
      assert.include(
        yield* why(Add.run, "add", "magnet:?x", "--output", long),
        "--output cannot be used: Expected a value with"
      )
      assert.include(yield* why(Add.run, "add", `http://a.example/${long}${long}`), "...: this is too long")
      assert.include(
        yield* why(Label.run, "label", "Beta", "--add", long),
        "--add cannot be used: Expected a value with"
      )
      assert.include(
        yield* why(Label.run, "label", "Beta", "--add", "a/b"),
        "--add cannot be used: Expected text without /"
      )
      assert.include(
        yield* why(Add.run, "add", "magnet:?x", "--output", "a/../b"),
        "Expected a folder without .. in its path"
      )
      assert.include(yield* why(List.run, "list", "--search", long), "--search cannot be used: Expected a value with")
    })
  )

  it.live("ask before files are deleted", () =>
    Effect.gen(function* () {
      const { fake, state } = yield* start(films)
      const questions: Array<string> = []
      const remove = (answer: boolean | undefined, ...words: ReadonlyArray<string>) =>
        run(
          (args, output) =>
            Remove.remove(args, output, (question) =>
              Effect.sync(() => {
                questions.push(question)
                return answer
              })
            ),
          ["remove", "--state", state, ...words]
        )

      const refused = yield* remove(undefined, "Beta", "--data")
      const declined = yield* remove(false, "Beta", "--data")
      assert.deepStrictEqual(
        [refused.why, declined.why, fake.calls],
        ["nobody can be asked whether to delete files; use --yes to do so", "nothing was removed", []]
      )
      const agreed = yield* remove(true, "Beta", "--data")
      yield* remove(undefined, "Alpha", "--data", "--yes")
      yield* remove(undefined, "Alpha")
      const json = yield* remove(undefined, "Alpha", "--json")

      assert.deepStrictEqual(questions, Array(3).fill("Delete the files of Beta (700.0 MiB)?"))
      assert.deepStrictEqual(agreed.printed, [
        "12350000  Beta: removed, and its files",
        "  kept, because it is not the torrent's own: /srv/kept\ufffd"
      ])
      assert.deepStrictEqual(fake.calls, [
        ["remove", "Beta", true],
        ["remove", "Alpha", true],
        ["remove", "Alpha", false],
        ["remove", "Alpha", false]
      ])
      assert.deepInclude(lineOf(json.printed), { _tag: "Removed", name: "Alpha", keptPaths: [] })
    })
  )

  it.live("show and change limits", () =>
    Effect.gen(function* () {
      const { fake, state } = yield* start()

      const before = yield* run(Limits.run, ["limits", "--state", state])
      yield* run(Limits.run, ["limits", "--state", state, "--down", "1MiB", "--up", "1KiB", "--downloads", "3"])
      const after = yield* run(Limits.run, ["limits", "--state", state, "--up", "none", "--seeds", "0"])
      const json = yield* run(Limits.run, ["limits", "--state", state, "--json"])

      assert.deepStrictEqual(before.printed, [
        "download   no limit",
        "upload     no limit",
        "downloads  no limit",
        "seeds      no limit"
      ])
      assert.deepStrictEqual(after.printed, [
        "download   1.0 MiB/s",
        "upload     no limit",
        "downloads  3",
        "seeds      0"
      ])
      const line = lineOf(json.printed)
      assert.deepStrictEqual(line._tag === "Limits" && { ...line.limits, uploadBytesPerSecond: undefined }, {
        downloadBytesPerSecond: 1_048_576,
        uploadBytesPerSecond: undefined,
        downloads: 3,
        seeds: 0
      })
      assert.strictEqual(fake.limits.uploadBytesPerSecond, undefined)
    })
  )

  it.live("add files, URLs and links with options", () =>
    Effect.gen(function* () {
      const { fake, state } = yield* start(films)
      const folder = yield* folderScoped
      const file = path.join(folder, "a.torrent")
      yield* Effect.promise(() => writeFile(file, "d4:infode"))
      const words = ["--label", "a", "--label", "b", "-o", "films", "--paused", "--first", "--sequential"]
      const limits = ["--limit-down", "1MiB", "--seed-ratio", "1.5", "--seed-time", "2h"]

      const sources = [file, " magnet:?xt=x", "https://a.example/x"]
      const { printed, why } = yield* run(Add.run, ["add", "--state", state, ...sources, ...words, ...limits])
      const json = yield* run(Add.run, ["add", "--state", state, "--json", "https://a.example/x"])

      assert.isUndefined(why)
      assert.deepStrictEqual(printed, [
        "abcd0000  new\ufffd[2J",
        "abcd0000  new\ufffd[2J",
        "12340000  Alpha: was there already, and stays as it is"
      ])
      assert.deepStrictEqual(
        fake.added.slice(0, 3).map(({ source }) => source),
        [
          { _tag: "Metainfo", bytes: new TextEncoder().encode("d4:infode") },
          { _tag: "Magnet", link: "magnet:?xt=x" },
          { _tag: "Url", url: "https://a.example/x" }
        ]
      )
      const { options, source: _, ...rest } = fake.added[0]!
      assert.deepInclude(rest, { labels: ["a", "b"], folder: "films", isPaused: true, place: "first" })
      assert.strictEqual(options?.goal?.ratio, 1.5)
      assert.isTrue(Duration.equals(options!.goal!.time as Duration.Duration, Duration.hours(2)))
      assert.deepInclude(options, { order: "sequential" })
      assert.strictEqual(Number(options?.limits?.downloadBytesPerSecond), 1_048_576)
      assert.deepInclude(lineOf(json.printed), { _tag: "Added", isNew: false })
    })
  )

  it.live("add what standard input has", () =>
    Effect.gen(function* () {
      const { fake, state } = yield* start()
      const bytes = (text: string) => new TextEncoder().encode(text)
      const pipe = (...chunks: ReadonlyArray<string>) =>
        run(
          (args, output) =>
            Add.add(
              args,
              output,
              (async function* () {
                yield* chunks.map(bytes)
              })()
            ),
          ["add", "--state", state, "-"]
        )

      yield* pipe("d4:in", "fode")
      yield* pipe("magnet:?xt=1\r\n\nhttp://a.exa", "mple/x\n")
      const empty = yield* pipe("")
      const other = yield* pipe("/etc/passwd\n")

      assert.deepStrictEqual(
        fake.added.map(({ source }) => source),
        [
          { _tag: "Metainfo", bytes: bytes("d4:infode") },
          { _tag: "Magnet", link: "magnet:?xt=1" },
          { _tag: "Url", url: "http://a.example/x" }
        ]
      )
      for (const { why } of [empty, other]) {
        assert.strictEqual(why, "standard input: there is neither a torrent file nor lines of URLs and magnet links")
      }
    })
  )

  it.live("say which source cannot be added, before anything is added", () =>
    Effect.gen(function* () {
      const { fake, state } = yield* start()
      const folder = yield* folderScoped
      const file = path.join(folder, "a.torrent")
      yield* Effect.promise(() => writeFile(file, "<html>"))
      const add = (...words: ReadonlyArray<string>) =>
        Effect.map(run(Add.run, ["add", "--state", state, ...words]), ({ why }) => why)

      const missing = path.join(folder, "b.torrent")
      assert.strictEqual(yield* add("magnet:?xt=1", missing), `${missing}: no such file or folder`)
      assert.include(yield* add("magnet:?xt=1", "--select", "*"), "--select needs a torrent file")
      assert.include(yield* add(file, "--select", "*"), `${file}: `)
      assert.deepStrictEqual(fake.added, [])
      assert.strictEqual(yield* add(file), `${file}: it is not a torrent file`)
    })
  )

  it.live("show a torrent", () =>
    Effect.gen(function* () {
      const { state } = yield* start([
        torrent("1234", { name: "Al\x1b[31mpha", labels: ["a"], options: { goal: { ratio: 2 }, folder: "films" } }),
        torrent("5678", { name: "magnet", progress: undefined, state: { _tag: "Queued" } })
      ])
      const show = (...words: ReadonlyArray<string>) =>
        Effect.map(run(Show.run, ["show", "--state", state, ...words]), ({ printed }) => printed.join("\n"))

      const text = yield* show("1234")
      const files = yield* show("1234", "--files")
      const early = yield* show("magnet")
      const json = lineOf((yield* run(Show.run, ["show", "--state", state, "--json", "1234"])).printed)

      expect(text).toMatchSnapshot()
      assert.include(files, "24.bin")
      assert.notInclude(files, "tracker")
      assert.notInclude(text + files + early, "\x1b")
      assert.notInclude(early, "stored")
      assert.strictEqual(json._tag === "Shown" && json.files?.length, 25)
    })
  )

  it.live("print a link for a media player", () =>
    Effect.gen(function* () {
      const { state, url } = yield* start(films)

      const { printed } = yield* run(Link.run, ["link", "--state", state, "Beta"])
      const json = yield* run(Link.run, ["link", "--state", state, "Beta", "--json"])

      assert.deepStrictEqual(printed, [`${url}v1/stream/ticket/`])
      assert.deepInclude(lineOf(json.printed), { _tag: "Linked", name: "Beta", url: `${url}v1/stream/ticket/` })
    })
  )
})
