import { existsSync, readdirSync, statSync } from "node:fs"
import { open, readFile, utimes, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule, Schema } from "effect"
import * as ServiceLines from "../../../src/cli/service/ServiceLines.ts"
import * as TorrentFile from "../../../src/metainfo/TorrentFile.ts"
import * as ServiceFolder from "../../../src/node/ServiceFolder.ts"
import * as SqliteSessionStore from "../../../src/session/provider/node/SqliteSessionStore.ts"
import type { KnownTorrent } from "../../../src/testing/KnownTorrent.ts"
import * as SessionDrawing from "../../../src/testing/suite/SessionDrawing.ts"
import { make } from "../../simulation/torrents.ts"
import { runScoped } from "../program.ts"
import { type Places, places, put, serve } from "./services.ts"

const pieceLength = 16_384
const [complete, partial, paused, changed, older] = (await Promise.all(
  ["complete", "partial", "paused", "changed", "older"].map((name, index) =>
    make({ name, seed: index + 1, pieceLength, files: [{ path: [], length: 10 * pieceLength }] })
  )
)) as [KnownTorrent, KnownTorrent, KnownTorrent, KnownTorrent, KnownTorrent]

const magnet = "magnet:?xt=urn:btih:1234567890123456789012345678901234567890&dn=link"

type Client = Effect.Success<ReturnType<typeof serve>>["client"]

/** Adds a torrent, with a label that is its name. */
const add = (client: Client, { metainfo }: KnownTorrent, isPaused = false) =>
  client.torrents.add({
    payload: {
      source: { _tag: "Metainfo", bytes: TorrentFile.encode(metainfo) },
      labels: [metainfo.name, "all"],
      isPaused
    }
  })

/** What a service says of its torrents, without what changes by itself. */
const drawn = (client: Client) =>
  Effect.map(client.torrents.list({ query: {} }), ({ torrents }) =>
    torrents.map(({ addedAtMillis, completedAtMillis, labels, name, options, progress, state, statistics }) => ({
      name,
      labels,
      options,
      addedAtMillis,
      completedAtMillis,
      missing: progress?.missingBytes,
      state: state._tag,
      downloaded: statistics.downloadedBytes,
      uploaded: statistics.uploadedBytes
    }))
  )

/** Waits until every torrent has been looked at: nothing is missing that is on the disk. */
const settled = (client: Client, missing: Readonly<Record<string, number>>) =>
  Effect.repeat(drawn(client), {
    until: (all) => all.every((torrent) => missing[torrent.name] === torrent.missing),
    schedule: Schedule.spaced("50 millis")
  }).pipe(
    Effect.timeoutOrElse({
      duration: "8 seconds",
      orElse: () => Effect.flatMap(drawn(client), (all) => Effect.die(new Error(JSON.stringify(all))))
    })
  )

/** Changes one byte of a file. */
const damage = (file: string) =>
  Effect.promise(async () => {
    const handle = await open(file, "r+")
    await handle.write(Uint8Array.of(255), 0, 1, 3 * pieceLength)
    await handle.close()
  })

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(ServiceLines.Line))

/** Runs a command to its end, and returns its line of JSON. */
const command = (...words: ReadonlyArray<string>) =>
  Effect.map(runScoped([...words, "--json"]), ({ code, stderr, stdout }) => {
    assert.strictEqual(code, 0, stderr)
    return decode(JSON.parse(stdout))
  })

/** Why a command fails. */
const refusal = (...words: ReadonlyArray<string>) =>
  Effect.map(runScoped(words), ({ code, stderr }) => {
    assert.strictEqual(code, 1, stderr)
    return stderr.replace(/^piecewise: /, "").trimEnd()
  })

/** A session with one torrent that no service uses, with statistics of its own. */
const rest = Effect.fnUntraced(function* ({ state }: Pick<Places, "state">) {
  const { contentOf, torrentOf } = SessionDrawing
  const statistics = { downloadedBytes: 7, uploadedBytes: 6, seedingMillis: 5 }
  const torrent = torrentOf(9, { name: "statistics", wanted: { _tag: "Paused" }, statistics })
  const database = ServiceFolder.sessionIn(state)
  yield* Effect.scoped(
    Effect.flatMap(SqliteSessionStore.make({ file: database }), ({ commit }) =>
      commit([{ _tag: "AddTorrent", torrent, content: contentOf([1]) }])
    )
  )
  return database
})

describe("a backup", () => {
  it.live(
    "of a service that runs has all that a restored one needs, and what changed since is verified",
    () =>
      Effect.gen(function* () {
        const first = yield* places
        const { base, directory } = first
        yield* rest(first)
        for (const known of [complete, paused, changed, older]) yield* put(directory, known)
        // Three of ten pieces.
        yield* Effect.promise(() =>
          writeFile(path.join(directory, "partial"), partial.fileContent(0).subarray(0, 3 * pieceLength))
        )
        const service = yield* serve(first)
        const { client } = service
        for (const known of [complete, partial, changed, older]) yield* add(client, known)
        yield* add(client, paused, true)
        yield* client.torrents.add({ payload: { source: { _tag: "Magnet", link: magnet }, labels: ["linked"] } })
        yield* client.labels.set({ params: { name: "films" }, payload: { folder: "films" } })
        yield* client.service.setLimits({ payload: { downloads: 9, uploadBytesPerSecond: 1_000_000 } })
        const missing = { complete: 0, partial: 7 * pieceLength, changed: 0, older: 0 }
        const stored = { ...missing, statistics: undefined, paused: 10 * pieceLength, link: undefined }
        const before = yield* Effect.repeat(drawn(client), {
          until: (all) =>
            all.every(
              (torrent) => torrent.name in missing === false || missing[torrent.name as "complete"] === torrent.missing
            ),
          schedule: Schedule.spaced("50 millis")
        })

        const file = path.join(base, "piecewise.backup")
        const made = yield* command("backup", file, "--state", first.state)
        const size = statSync(file).size
        service.child.kill("SIGKILL")
        yield* Effect.promise(() => service.ended)
        // One file is newer than its resume data, and one is older and shorter.
        yield* damage(path.join(directory, "changed"))
        const old = path.join(directory, "older")
        yield* Effect.promise(async () => {
          await writeFile(old, older.fileContent(0).subarray(0, 4 * pieceLength))
          await utimes(old, 1, 1)
        })
        const second = { ...first, state: path.join(base, "restored") }
        const restored = yield* command("restore", file, "--state", second.state)
        const again = yield* serve(second)
        const after = yield* settled(again.client, {
          ...stored,
          changed: pieceLength,
          older: 6 * pieceLength
        } as unknown as Record<string, number>)

        assert.deepStrictEqual(made, { _tag: "BackedUp", version: 1, file, bytes: size, torrents: 7 } as never)
        assert.deepStrictEqual(restored, { _tag: "Restored", version: 1, state: second.state, torrents: 7 } as never)
        assert.strictEqual(statSync(file).mode & 0o777, 0o600)
        const same = ({ missing: _, state: __, ...torrent }: (typeof before)[number]) => torrent
        assert.deepStrictEqual(after.map(same), before.map(same))
        assert.deepStrictEqual(after.map(({ downloaded, name, uploaded }) => [name, downloaded, uploaded])[0], [
          "statistics",
          7,
          6
        ])
        assert.deepStrictEqual(yield* again.client.labels.list(), [{ name: "films", folder: "films" }] as never)
        const limits = yield* again.client.service.limits()
        assert.deepStrictEqual([limits.downloads, limits.uploadBytesPerSecond], [9, 1_000_000])
        const unchanged = yield* Effect.promise(() => readFile(path.join(directory, "complete")))
        assert.deepStrictEqual(new Uint8Array(unchanged), complete.fileContent(0))
        // Nothing is left of the sending.
        assert.deepStrictEqual(
          readdirSync(first.state).filter((name) => name.startsWith("backup")),
          []
        )
      }),
    { timeout: 40_000 }
  )

  it.live("is made without a service too, and replaces an earlier one, and no other file", () =>
    Effect.gen(function* () {
      const { base, state } = yield* places
      yield* rest({ state })
      const [file, other] = [path.join(base, "a"), path.join(base, "b")]
      yield* Effect.promise(() => writeFile(other, "mine"))
      const backup = (to: string) => ["backup", to, "--state", state]

      for (let time = 0; time < 2; time++) yield* command(...backup(file))
      const why = yield* refusal(...backup(other))
      const nothing = yield* refusal("backup", path.join(base, "c"), "--state", path.join(base, "none"))

      assert.strictEqual(why, `${other} exists, and is no backup: nothing was written`)
      assert.strictEqual(yield* Effect.promise(() => readFile(other, "utf8")), "mine")
      const missing = ServiceFolder.sessionIn(path.join(base, "none"))
      assert.strictEqual(nothing, `${missing} cannot be used: there is no such file or folder`)
      assert.deepStrictEqual(readdirSync(base).sort(), ["a", "b", "state"])
    })
  )

  it.live("is restored as a whole, into an empty state folder, or not at all", () =>
    Effect.gen(function* () {
      const { base, state } = yield* places
      const database = yield* rest({ state })
      const file = path.join(base, "a")
      yield* command("backup", file, "--state", state)
      const target = path.join(base, "new")
      const restore = (from: string) => ["restore", from, "--state", target]
      const bytes = yield* Effect.promise(() => readFile(file))
      const cut = path.join(base, "cut")
      yield* Effect.promise(() => writeFile(cut, bytes.subarray(0, bytes.length - 4_096)))

      const full = yield* refusal("restore", file, "--state", state)
      const short = yield* refusal(...restore(cut))
      const noBackup = yield* refusal(...restore(database))
      const left = readdirSync(target)
      // The credentials may be there before.
      yield* Effect.promise(() => writeFile(path.join(target, "token"), "x"))
      yield* command(...restore(file))

      assert.include(full, `${state} is not empty: it has `)
      assert.include(short, `${cut} cannot be used: `)
      assert.strictEqual(noBackup, `${database} cannot be used: it is no backup, or not a whole one`)
      assert.deepStrictEqual(left, [])
      assert.deepStrictEqual(readdirSync(target).sort(), ["resume", "session.db", "token"])
      assert.isTrue(existsSync(file))
    })
  )
})
