/**
 * The commands as processes, with a service that runs as one.
 */
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as ServiceLines from "../../../src/cli/service/ServiceLines.ts"
import { folderScoped, runScoped, startScoped } from "../program.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(ServiceLines.Line))

const lineOf = (stdout: string) => decode(JSON.parse(stdout), { onExcessProperty: "error" })

/** A folder with the torrent file of an album, a state folder, and a download folder that has the album. */
const scene = Effect.gen(function* () {
  const folder = yield* folderScoped
  const downloads = path.join(folder, "downloads")
  yield* Effect.promise(async () => {
    await mkdir(path.join(downloads, "album"), { recursive: true })
    await writeFile(path.join(downloads, "album", "a.bin"), new Uint8Array(40_000).fill(1))
    await writeFile(path.join(downloads, "album", "b.bin"), new Uint8Array(20_000).fill(2))
  })
  const words = ["create", path.join(downloads, "album"), "-o", "album.torrent", "--piece-length", "16KiB"]
  const created = yield* runScoped(words, folder)
  assert.strictEqual(created.code, 0, created.stderr)
  return { folder, downloads, state: path.join(folder, "state"), torrent: path.join(folder, "album.torrent") }
})

/** Starts a service, and waits until it answers. */
const serve = Effect.fnUntraced(function* (downloads: string, state: string) {
  const words = ["serve", downloads, "--state", state, "--http", "127.0.0.1:0", "--no-dht", "--no-listen"]
  const running = yield* startScoped(words)
  yield* Effect.promise(() => running.wrote("The service is at"))
  return running
})

describe("piecewise with a service", { timeout: 60_000 }, () => {
  it.live("adds, lists, shows, changes and removes a torrent", () =>
    Effect.gen(function* () {
      const { downloads, state, torrent } = yield* scene
      yield* serve(downloads, state)
      const run = Effect.fnUntraced(function* (...words: ReadonlyArray<string>) {
        const ended = yield* runScoped([...words, "--state", state])
        assert.deepStrictEqual([ended.code, ended.stderr], [0, ""], words.join(" "))
        return ended.stdout
      })

      const mode = (yield* Effect.promise(() => stat(path.join(state, "token")))).mode & 0o777
      assert.strictEqual(mode, 0o600)
      assert.match(
        yield* run("add", torrent, "--label", "music", "--paused", "--seed-ratio", "2"),
        /^[0-9a-f]{8} {2}album\n$/
      )
      assert.match(yield* run("add", torrent), / {2}album: was there already, and stays as it is\n$/)
      assert.match(yield* run("list", "--label", "music"), /^hash .*\n[0-9a-f]{8} {2}album .* paused .* music\n$/)
      yield* run("label", "album", "--add", "old", "--remove", "music")
      yield* run("move", "album", "--first")
      const shown = lineOf(yield* run("show", "alb", "--json"))
      assert.strictEqual(shown._tag, "Shown")
      if (shown._tag !== "Shown") return
      assert.deepStrictEqual(
        [shown.torrent.labels, shown.torrent.options.goal?.ratio, shown.metainfo?.pieces, shown.files?.length],
        [["old"], 2, 4, 2]
      )

      yield* run("resume", "--all")
      let text = ""
      while (!text.includes("seeding")) text = yield* run("list")
      assert.match(text, /100\.0% {2}seeding/)
      assert.match(yield* run("limits", "--down", "1MiB", "--seeds", "3"), /^download {3}1\.0 MiB\/s\n/)
      assert.include(yield* run("limits"), "seeds      3")

      const url = (yield* run("link", "album")).trim()
      const listed = yield* Effect.promise(async () => (await fetch(url)).status)
      assert.strictEqual(listed, 200)
      const file = yield* Effect.promise(
        async () => new Uint8Array(await (await fetch(`${url}album/b.bin`)).arrayBuffer())
      )
      assert.isTrue(Bytes.equals(file, new Uint8Array(20_000).fill(2)))

      const refused = yield* runScoped(["remove", "album", "--data", "--state", state])
      assert.deepStrictEqual(
        [refused.code, refused.stderr],
        [1, "piecewise: nobody can be asked whether to delete files; use --yes to do so\n"]
      )
      assert.match(yield* run("remove", "album", "--data", "--yes"), / {2}album: removed, and its files\n$/)
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(downloads)), [])
      const empty = yield* runScoped(["list", "--state", state])
      assert.deepStrictEqual([empty.stdout, empty.stderr], ["", "There are no such torrents.\n"])
    })
  )

  it.live("watches while the service stops and comes back, and says when none runs", () =>
    Effect.gen(function* () {
      const { downloads, state, torrent } = yield* scene
      const none = yield* runScoped(["watch", "--state", state])
      assert.deepStrictEqual(
        [none.code, none.stderr],
        [1, `piecewise: no service runs with the state folder ${state}; start one with piecewise serve DIR\n`]
      )

      const first = yield* serve(downloads, state)
      const added = yield* runScoped(["add", torrent, "--state", state])
      assert.strictEqual(added.code, 0, added.stderr)
      const watching = yield* startScoped(["watch", "--json", "--state", state])
      yield* Effect.promise(() => watching.wrote('"Complete"'))
      first.child.kill("SIGKILL")
      yield* Effect.promise(() => watching.wrote('"_tag":"Away"'))
      const left = yield* Effect.promise(() => readFile(path.join(state, "service.json"), "utf8"))
      assert.include(left, '"pid"')
      const between = yield* runScoped(["list", "--state", state])
      assert.strictEqual(between.code, 1)
      const second = yield* serve(downloads, state)
      yield* Effect.promise(() => watching.wrote(/"isAll":true.*"_tag":"Away".*"isAll":true/s))
      watching.child.kill("SIGINT")
      const ended = yield* Effect.promise(() => watching.ended)
      second.child.kill("SIGTERM")
      const stopped = yield* Effect.promise(() => second.ended)

      const lines = ended.stdout.trim().split("\n").map(lineOf)
      assert.strictEqual(lines.filter(({ _tag }) => _tag === "Away").length, 1)
      assert.strictEqual(ended.code, 130)
      assert.strictEqual(stopped.code, 0)
      assert.notInclude(yield* Effect.promise(() => readdir(state)), "service.json")
    })
  )
})
