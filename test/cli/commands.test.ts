import { execFile } from "node:child_process"
import { chmod, mkdir, readdir, readFile, rename, rm, symlink, truncate, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Arguments from "../../src/cli/Arguments.ts"
import * as Commands from "../../src/cli/Commands.ts"
import * as Create from "../../src/cli/Create.ts"
import { eventsOf, fakeOutput, folderScoped, run, runScoped } from "./program.ts"

/** A folder `album` with files that share pieces of 16 KiB, and `album.torrent` beside it. */
const album = Effect.gen(function* () {
  const folder = yield* folderScoped
  const files: ReadonlyArray<readonly [name: string, length: number]> = [
    ["a.bin", 40_000],
    ["b/c.bin", 1],
    ["b/empty", 0],
    ["d.bin", 20_000]
  ]
  yield* Effect.promise(async () => {
    for (const [index, [name, length]] of files.entries()) {
      const file = path.join(folder, "album", name)
      await mkdir(path.dirname(file), { recursive: true })
      await writeFile(
        file,
        Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8) + index) % 251)
      )
    }
  })
  const words = ["create", "album", "--piece-length", "16KiB", "--tracker", "http://a.example/announce"]
  const created = yield* runScoped(words, folder)
  assert.strictEqual(created.code, 0, created.stderr)
  return folder
})

/** Exit code and standard error, which must be one line. */
const refusal = (ended: { readonly code: number | null; readonly stderr: string }) => {
  assert.strictEqual(ended.stderr.trimEnd().split("\n").length, 1, ended.stderr)
  return [ended.code, ended.stderr.trimEnd()]
}

describe("piecewise", () => {
  it.live("prints its version and its commands", () =>
    Effect.promise(async () => {
      const [version, help, ofCommand] = await Promise.all([run(["--version"]), run(["--help"]), run(["help", "info"])])

      assert.match(version.stdout, /^piecewise \d+\.\d+\.\d+\n$/)
      for (const { name } of Commands.all) assert.include(help.stdout, `  ${name}`)
      assert.strictEqual(ofCommand.stdout, Commands.helpOf(Commands.all.find(({ name }) => name === "info")!))
      assert.deepStrictEqual([version.code, help.code, ofCommand.code], [0, 0, 0])
    })
  )

  it.live.each([
    [[], "piecewise: a command is missing (see piecewise --help)"],
    [["obtain"], "piecewise: obtain is not a command of piecewise (see piecewise --help)"],
    [["inof"], "piecewise: inof is not a command of piecewise; did you mean info? (see piecewise --help)"],
    [["info"], /^piecewise: info needs TORRENT: .* \(see piecewise info --help\)$/],
    [["verify", "x", ""], "piecewise: verify needs PATH, but it is an empty text (see piecewise verify --help)"],
    [["completions", "tcsh"], /^piecewise: tcsh is not a supported shell; use one of bash, zsh, fish/],
    [["download", "x", "--peer", "here"], /^piecewise: --peer here is not an address: it must be HOST:PORT/],
    [["download", "x", "--peer", "0.0.0.0:1"], /^piecewise: --peer 0\.0\.0\.0:1 is not an address/],
    [["download", "x", "--buffer", "1"], /^piecewise: --buffer 1 is not a size of at least 64\.0 KiB/],
    [["download", "x", "--max-connections", "0"], /^piecewise: --max-connections 0 is not a number from 1 to/],
    [
      ["download", "x", "--limit-down", "fast"],
      /^piecewise: --limit-down fast is not a rate: it must be bytes per second/
    ],
    [["seed", "x", "y", "--limit-up", "0"], /^piecewise: --limit-up 0 is not a rate/],
    [["seed", "x", "y", "--limit-down", "1"], /^piecewise: --limit-down is not an option of seed/],
    [["seed", "x", "y", "--seed-ratio", "0"], /^piecewise: --seed-ratio 0 is not a ratio: it must be a number such as/],
    [["seed", "x", "y", "--bind", "lo"], /^piecewise: --bind lo is not an IP address of this machine/],
    [["download", "x", "--port", "7", "--no-listen"], /^piecewise: --port and --no-listen cannot be used together/],
    [["download", "x", "--give-up", "0s"], /^piecewise: --give-up 0s is not a time: it must be a time such as 90s/],
    [
      ["download", "x", "--seed-time", "soon"],
      /^piecewise: --seed-time soon is not a time: it must be a time such as 30m/
    ],
    [
      ["download", "x", "--storage", "tape"],
      /^piecewise: --storage tape is not allowed: it must be filesystem, io-daemon or/
    ],
    [["download", "x", "--network", "udp"], /^piecewise: --network udp is not allowed: it must be tcp or io-daemon/],
    [["download", "x", "--json", "--quiet"], /^piecewise: --json and --quiet cannot be used together/],
    [["create", ".", "--piece-length", "none"], /^piecewise: --piece-length none is not a size/],
    [["create", ".", "--tracker", "nowhere"], /^piecewise: --tracker nowhere is not a tracker URL/],
    [["create", ".", "--node", "router"], /^piecewise: --node router is not an address: it must be HOST:PORT/],
    [["create", ".", "--node", "r.example:1", "--private"], /^piecewise: --node and --private cannot be used together/],
    [["download", "x.torrent", "--dht", "--no-dht"], /^piecewise: --dht and --no-dht cannot be used together/]
  ] as ReadonlyArray<readonly [ReadonlyArray<string>, string | RegExp]>)("refuses %j with 2", ([words, why]) =>
    Effect.promise(async () => {
      const ended = await run(words)

      const [code, sentence] = refusal(ended)
      assert.strictEqual(code, 2)
      if (typeof why === "string") assert.strictEqual(sentence, why)
      else assert.match(sentence as string, why)
    })
  )

  it.live.each(Commands.shells)("writes completions for %s with all commands and options", (shell) =>
    Effect.promise(async () => {
      const ended = await run(["completions", shell])

      assert.strictEqual(ended.code, 0)
      for (const { name, options } of Commands.all) {
        assert.include(ended.stdout, name)
        for (const option of options) assert.include(ended.stdout, option.name)
      }
    })
  )
})

describe("piecewise info", () => {
  it.live("shows the contents of a torrent", () =>
    Effect.gen(function* () {
      const folder = yield* album

      const ended = yield* runScoped(["info", "album.torrent"], folder)

      // Printed because a person waits for this. Shared machines vary too much to assert a limit.
      console.log(`piecewise info: ${ended.millis.toFixed(0)} ms from start to end`)
      assert.match(ended.stdout, /^name +album\ninfo hash +[0-9a-f]{40}\nsize +58\.6 KiB \(60001 bytes\)\n/)
      assert.include(ended.stdout, "  39.1 KiB  album/a.bin\n")
      assert.include(ended.stdout, "       0 B  album/b/empty\n")
      assert.strictEqual(ended.code, 0)
    })
  )

  it.live("writes JSON for programs", () =>
    Effect.gen(function* () {
      const folder = yield* album

      const ended = yield* runScoped(["info", "album.torrent", "--json"], folder)

      const { files, infoHash, trackers, ...rest } = eventsOf(ended.stdout)[0]!
      assert.match(String(infoHash), /^[0-9a-f]{40}$/)
      assert.deepStrictEqual(trackers, [["http://a.example/announce"]])
      assert.deepInclude(files as Array<unknown>, { path: "album/b/c.bin", length: 1 })
      assert.include(rest, {
        name: "album",
        totalBytes: 60_001,
        pieceLength: 16_384,
        pieces: 4,
        isPrivate: false,
        version: 1
      })
    })
  )

  it.live("writes no control characters in the table and in JSON", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const comment = "\x1b]0;title\x07\x7f\x9b2J\u202egnp\u2028"
      const tracker = "http://127.0.0.1:1/announce?\x9b2J\u202e"
      const bytes = (text: string) => `${Buffer.byteLength(text)}:${text}`
      const info = `d6:lengthi1e4:name6:a\u202eb\x7f12:piece lengthi16384e6:pieces20:${"p".repeat(20)}e`
      yield* Effect.promise(() =>
        writeFile(
          path.join(folder, "odd.torrent"),
          `d8:announce${bytes(tracker)}7:comment${bytes(comment)}10:created by${bytes(comment)}4:info${info}e`
        )
      )

      const table = yield* runScoped(["info", "odd.torrent"], folder)
      const json = yield* runScoped(["info", "odd.torrent", "--json"], folder)
      const link = yield* runScoped(["info", `magnet:?xt=urn:btih:${"ab".repeat(20)}&dn=%C2%9B2J%7F`, "--json"], folder)
      const scraped = yield* runScoped(["scrape", "odd.torrent", "--json"], folder)
      const verified = yield* runScoped(["verify", "odd.torrent", ".", "--json"], folder)

      for (const { stdout } of [table, json, link, scraped, verified]) {
        assert.notMatch(stdout.replaceAll("\n", ""), /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u)
        assert.notStrictEqual(stdout, "")
      }
      for (const { stdout } of [json, link, scraped, verified]) assert.lengthOf(eventsOf(stdout), 1)
      assert.deepInclude(JSON.parse(json.stdout), { comment, createdBy: comment, trackers: [[tracker]] })
      assert.deepInclude(JSON.parse(link.stdout), { name: "\x9b2J\x7f" })
    })
  )

  it.live("shows the contents of a magnet link", () =>
    Effect.promise(async () => {
      const hash = "0123456789abcdef0123456789abcdef01234567"
      const ended = await run(["info", `magnet:?xt=urn:btih:${hash}&dn=a%1b[2Jb&tr=http://t.example/announce`])

      assert.strictEqual(
        ended.stdout,
        `name       a\ufffd[2Jb\ninfo hash  ${hash}\ntrackers   http://t.example/announce\n`
      )
      assert.strictEqual(ended.code, 0)
    })
  )

  it.live("refuses anything that is not a torrent, with one sentence that names it", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      yield* Effect.promise(() => writeFile(path.join(folder, "page.torrent"), "<!doctype html>"))
      yield* Effect.promise(() => writeFile(path.join(folder, "empty.torrent"), ""))

      const missing = yield* runScoped(["info", "nowhere.torrent"], folder)
      const page = yield* runScoped(["info", "page.torrent"], folder)
      const empty = yield* runScoped(["info", "empty.torrent"], folder)
      const directory = yield* runScoped(["info", "."], folder)
      const magnet = yield* runScoped(["info", "magnet:?dn=x"], folder)

      assert.deepStrictEqual(refusal(missing), [1, "piecewise: nowhere.torrent: no such file or folder"])
      assert.match(refusal(page).join(" "), /^1 piecewise: page\.torrent: this is not a torrent file: /)
      assert.deepStrictEqual(refusal(empty), [1, "piecewise: empty.torrent: the file is empty"])
      assert.deepStrictEqual(refusal(directory), [1, "piecewise: .: it is a folder"])
      assert.match(refusal(magnet).join(" "), /^1 piecewise: Bad magnet link: /)
    })
  )
})

describe("anything that is not a regular file", () => {
  const commands = ["info FILE", "scrape FILE", "verify FILE .", "seed FILE .", "download FILE --output out"]

  it.live.each(commands)("is refused at once by piecewise %s, FIFO and device alike", (words) =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      yield* Effect.promise(() => promisify(execFile)("mkfifo", [path.join(folder, "fifo")]))

      const fifo = yield* runScoped(words.replace("FILE", "fifo").split(" "), folder)
      const device = yield* runScoped(words.replace("FILE", "/dev/zero").split(" "), folder)

      assert.deepStrictEqual(refusal(fifo), [1, "piecewise: fifo: it is not a regular file"])
      assert.deepStrictEqual(refusal(device), [1, "piecewise: /dev/zero: it is not a regular file"])
    })
  )

  it.live("is refused by piecewise create, and left out of a folder", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      yield* Effect.promise(async () => {
        await mkdir(path.join(folder, "content"))
        await writeFile(path.join(folder, "content", "a"), "a")
        await promisify(execFile)("mkfifo", [path.join(folder, "content", "fifo")])
      })

      const itself = yield* runScoped(["create", "content/fifo"], folder)
      const within = yield* runScoped(["create", "content"], folder)

      const fifo = path.join(folder, "content", "fifo")
      assert.deepStrictEqual(refusal(itself), [1, `piecewise: ${fifo} is neither a file nor a folder`])
      assert.deepStrictEqual(refusal(within), [0, `${fifo} is left out: not a file`])
    })
  )

  it.live("is refused, like a file that is too long for a torrent", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      yield* Effect.promise(async () => {
        await writeFile(path.join(folder, "long.torrent"), "d")
        await truncate(path.join(folder, "long.torrent"), 2 ** 31)
      })

      const ended = yield* runScoped(["info", "long.torrent"], folder)

      assert.match(
        refusal(ended).join(" "),
        /^1 piecewise: long\.torrent: its metadata is longer than 64 MiB, the most that is accepted$/
      )
    })
  )
})

describe("piecewise create", () => {
  it.live("writes only what it made", () =>
    Effect.gen(function* () {
      const folder = yield* album

      const ended = yield* runScoped(["create", "album/a.bin", "-o", "one.torrent", "--private"], folder)

      assert.match(ended.stdout, /^one\.torrent\n {2}39\.1 KiB in 3 pieces of 16\.0 KiB\n {2}info hash [0-9a-f]{40}\n$/)
      assert.strictEqual(ended.stderr, "")
      const files = yield* Effect.promise(() => readdir(folder))
      assert.deepStrictEqual(files.sort(), ["album", "album.torrent", "one.torrent"])
    })
  )

  it.live("makes the same bytes each time", () =>
    Effect.gen(function* () {
      const folder = yield* album
      yield* runScoped(["create", "album", "-o", "x.torrent", "--quiet"], folder)
      const again = yield* runScoped(["create", "album", "-o", "y.torrent", "--quiet"], folder)

      const read = (name: string) => Effect.promise(() => readFile(path.join(folder, name), "latin1"))
      assert.strictEqual(yield* read("x.torrent"), yield* read("y.torrent"))
      assert.strictEqual(again.stdout, "")
    })
  )

  it.live("fails before hashing if the torrent file cannot be written", () =>
    Effect.gen(function* () {
      const folder = yield* album

      const inFolder = yield* runScoped(["create", "album", "-o", "none/x.torrent"], folder)
      const onFolder = yield* runScoped(["create", "album", "-o", "album"], folder)
      const ofNothing = yield* runScoped(["create", "nothing"], folder)

      assert.deepStrictEqual(refusal(inFolder), [1, "piecewise: none/x.torrent: no such file or folder"])
      assert.deepStrictEqual(refusal(onFolder), [1, "piecewise: album: it is a folder"])
      assert.match(refusal(ofNothing).join(" "), /nothing: no such file or folder$/)
    })
  )

  it.live("shows progress on a terminal, and leaves only the result", () =>
    Effect.gen(function* () {
      const folder = yield* album
      const { output, written } = fakeOutput(true)
      const command = Commands.all.find(({ name }) => name === "create")!
      const target = path.join(folder, "t.torrent")
      const args = Arguments.read(command, [path.join(folder, "album"), "-o", target])

      yield* Create.run(args, output)

      assert.match(written.drawn[0]![0]!, /^hashing 0\.0%, 0 B of 58\.6 KiB$/)
      assert.deepStrictEqual(written.drawn.at(-1), [])
      assert.strictEqual(written.printed[0], target)
    })
  )
})

describe("piecewise verify", () => {
  it.live.each([["."], ["album"], ["moved"], ["link"]])("accepts correct data at %s", ([place]) =>
    Effect.gen(function* () {
      const folder = yield* album
      yield* Effect.promise(async () => {
        if (place === "link") await symlink("album", path.join(folder, "link"))
        if (place === "moved") await rename(path.join(folder, "album"), path.join(folder, "moved"))
      })

      const ended = yield* runScoped(["verify", "album.torrent", place!], folder)

      assert.strictEqual(ended.stdout, `${place}: all 4 pieces are correct (58.6 KiB)\n`)
      assert.strictEqual(ended.code, 0)
    })
  )

  it.live("lists each file that is missing or wrong, and its pieces", () =>
    Effect.gen(function* () {
      const folder = yield* album
      yield* Effect.promise(async () => {
        const first = await readFile(path.join(folder, "album", "a.bin"))
        first[20_000]! ^= 1
        await writeFile(path.join(folder, "album", "a.bin"), first)
        await rm(path.join(folder, "album", "b", "empty"))
        await truncate(path.join(folder, "album", "d.bin"), 19_999)
      })

      const ended = yield* runScoped(["verify", "album.torrent", "."], folder)
      const asJson = yield* runScoped(["verify", "album.torrent", ".", "--json"], folder)

      assert.strictEqual(
        ended.stdout,
        [
          "album/a.bin: 1 of 3 pieces wrong: 1",
          "album/b/empty: missing",
          "album/d.bin: too short (19999 bytes instead of 20000), 1 of 2 pieces wrong: 3",
          ""
        ].join("\n")
      )
      assert.deepStrictEqual(refusal(ended), [1, "piecewise: .: 3 files are missing or wrong, 2 of 4 pieces"])
      const [result] = eventsOf(asJson.stdout)
      assert.include(result, { ok: false, pieces: 4, goodPieces: 2, totalBytes: 60_001 })
      assert.strictEqual(asJson.code, 1)
    })
  )

  it.live("reports a file that is too long", () =>
    Effect.gen(function* () {
      const folder = yield* album
      yield* Effect.promise(() => writeFile(path.join(folder, "album", "d.bin"), "more", { flag: "a" }))

      const ended = yield* runScoped(["verify", "album.torrent", "album"], folder)

      assert.strictEqual(ended.stdout, "album/d.bin: too long (20004 bytes instead of 20000)\n")
      assert.strictEqual(ended.code, 1)
    })
  )

  it.live("changes nothing, even if no file exists", () =>
    Effect.gen(function* () {
      const folder = yield* album
      const empty = path.join(folder, "empty")
      yield* Effect.promise(() => mkdir(empty))

      const ended = yield* runScoped(["verify", "album.torrent", "empty"], folder)
      const nowhere = yield* runScoped(["verify", "album.torrent", "nowhere"], folder)

      assert.match(refusal(ended).join(" "), /4 files are missing or wrong, 4 of 4 pieces$/)
      assert.deepStrictEqual(refusal(nowhere), [1, "piecewise: nowhere: no such file or folder"])
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(empty)), [])
    })
  )

  it.live("names the file that it may not read", () =>
    Effect.gen(function* () {
      const folder = yield* album
      yield* Effect.promise(() => chmod(path.join(folder, "album", "a.bin"), 0))

      const ended = yield* runScoped(["verify", "album.torrent", "album"], folder)

      assert.match(refusal(ended).join(" "), /^1 .*a\.bin: permission denied$/)
    })
  )
})
