import * as FileSystem from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as SqlClient from "effect/sql/SqlClient"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import { Engine } from "../../src/engine/Engine.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as NodeEngine from "../../src/node/NodeEngine.ts"
import * as FileResumeStore from "../../src/resume/provider/node/FileResumeStore.ts"
import { ResumeStore } from "../../src/resume/ResumeStore.ts"
import * as FileRenaming from "../../src/session/FileRenaming.ts"
import * as NodeSqlite from "../../src/session/provider/node/NodeSqlite.ts"
import * as SessionMigrations from "../../src/session/provider/node/SessionMigrations.ts"
import * as SessionRows from "../../src/session/provider/node/SessionRows.ts"
import * as SqliteSessionStore from "../../src/session/provider/node/SqliteSessionStore.ts"
import * as Session from "../../src/session/Session.ts"
import * as SessionDrawing from "../../src/testing/suite/SessionDrawing.ts"
import { killed, kills, seed } from "../killed.ts"
import * as SchemaOne from "../session/schemaOne.ts"
import * as SessionDownloads from "./sessionDownloads.ts"

const { torrents } = SessionDownloads
const program = Path.join(import.meta.dirname, "programs/session-downloads-until-killed.ts")

/** What the program says before it is killed, and how many milliseconds later that is at most. */
const moments = [
  // The first one of each folder is killed while it migrates a database.
  ["opening", 120],
  ["opened", 1_500],
  ['{"_tag":"Add"', 30],
  ['{"_tag":"Move"', 15],
  ['{"_tag":"Rename"', 10],
  ['{"_tag":"Remove"', 15],
  ["opened", 3_000]
] as const

const temporary = Effect.acquireRelease(
  Effect.sync(() => FileSystem.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-kills-"))),
  (folder) => Effect.sync(() => FileSystem.rmSync(folder, { recursive: true }))
)

/** Seeds all torrents. Returns the port. */
const seeder = Effect.gen(function* () {
  const directory = yield* temporary
  for (const { fileContent, metainfo } of torrents) {
    FileSystem.mkdirSync(Path.join(directory, metainfo.name))
    for (const index of FileLayout.realFiles(metainfo.layout)) {
      FileSystem.writeFileSync(Path.join(directory, ...FileLayout.pathOf(metainfo.layout, index)), fileContent(index))
    }
  }
  const options = { directory, dht: false, listen: { host: "127.0.0.1", port: 0 } } as const
  const context = yield* Layer.build(Layer.provideMerge(NodeEngine.layer(options), Logger.layer([])))
  const engine = yield* Effect.provideContext(Engine, context)
  for (const { metainfo } of torrents) yield* engine.add(metainfo, { seed: true })
  return engine.listening!.port
})

/** A tracker that names the seeder. Returns its URL. */
const trackerOf = (port: number) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Http.Server>((resume) => {
        const server = Http.createServer((_, response) => {
          const peers = Buffer.from([127, 0, 0, 1, port >> 8, port & 255])
          response.end(Buffer.concat([Buffer.from("d8:intervali1800e5:peers6:"), peers, Buffer.from("e")]))
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => void server.close())
    ),
    (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/announce`
  )

/** Makes a session of schema 1 that has all torrents. */
const prepare = (directory: string, tracker: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const file = SessionDownloads.databaseIn(directory)
      FileSystem.mkdirSync(Path.dirname(file), { recursive: true })
      const sql = yield* NodeSqlite.make({ file })
      yield* sql`PRAGMA journal_mode = WAL`
      const first = SessionMigrations.run(0, SessionMigrations.all.slice(0, 1))
      yield* Effect.provideService(first, SqlClient.SqlClient, sql)
      for (const [number, { metainfo }] of torrents.entries()) {
        const { infoHash, name } = metainfo
        const all = SessionRows.ofTorrent(SessionDrawing.torrentOf(number + 1, { infoHash, name }))
        const row = Object.fromEntries(Object.entries(all).filter(([column]) => SchemaOne.columns.includes(column)))
        yield* sql`INSERT INTO torrents ${sql.insert(row)}`
        const content = { info_hash: infoHash, metainfo: SessionDownloads.fileOf(number, tracker), magnet: null }
        yield* sql`INSERT INTO contents ${sql.insert({ ...content, files: '{"renamed":[]}' })}`
      }
    })
  )

/** What a kill has left of a torrent. */
interface Left {
  readonly isPaused: boolean
  readonly storedPieces: number
  /** Whether it has files, of which none was being written. */
  readonly isClean: boolean
}

/** Reads what a kill has left, and compares every piece that counts as stored with what it should be. */
const inspect = (directory: string, what: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = yield* SqliteSessionStore.make({ file: SessionDownloads.databaseIn(directory) })
      const resume = yield* ResumeStore
      const saved = yield* store.load
      assert.deepStrictEqual(saved.unreadable, [], what)
      const left = new Map<number, Left>()
      for (const { infoHash, options, wanted } of saved.torrents) {
        if (wanted._tag === "Removing") continue
        const number = torrents.findIndex(({ metainfo }) => InfoHash.equals(metainfo.infoHash, infoHash))
        const { content, metainfo } = torrents[number]!
        const { files } = (yield* store.content(infoHash))!
        const { layout } = FileRenaming.apply(metainfo, files)
        const { geometry } = layout
        const { pieceCount } = geometry
        const { load } = yield* resume.open({ infoHash, pieceCount, fileCount: layout.fileCount })
        const data = yield* load
        const isMoving = files.moving !== undefined || files.renaming !== undefined
        const records = [...(data?.files.values() ?? [])]
        const isClean = !isMoving && records.length > 0 && records.every(({ isWriting }) => !isWriting)
        const isPaused = wanted._tag === "Paused"
        const pieces = Array.from({ length: pieceCount }, (_, index) => PieceGeometry.pieceIndexUnsafe(geometry, index))
        const stored = pieces.filter((piece) => data !== undefined && Bitfield.has(data.stored, piece))
        left.set(number, { isPaused, storedPieces: stored.length, isClean })
        assert.notStrictEqual(wanted._tag, "Failed", what)
        if (isMoving) continue
        const root = Path.resolve(directory, options.folder ?? "")
        const bytes = FileLayout.realFiles(layout).map((index) => {
          const path = Path.join(root, ...FileLayout.pathOf(layout, index))
          const whole = Buffer.alloc(FileLayout.lengthOf(layout, index))
          if (FileSystem.existsSync(path)) FileSystem.readFileSync(path).copy(whole)
          return whole
        })
        const whole = Buffer.concat(bytes)
        for (const piece of stored) {
          const begin = PieceGeometry.pieceOffset(geometry, piece)
          const is = whole.subarray(begin, begin + PieceGeometry.pieceSize(geometry, piece))
          assert.isTrue(is.equals(content(piece)), `${what}: piece ${piece} of torrent ${number}`)
        }
      }
      return left
    })
  ).pipe(Effect.provide(FileResumeStore.layer({ directory: SessionDownloads.resumeIn(directory) })))

/** Runs the session until everything is downloaded. */
const finish = (directory: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const session = yield* Session.make
      yield* session.setLimits({})
      const { torrents: listed } = yield* session.list
      for (const { infoHash } of listed) {
        // It may be removed as the kill has left it.
        yield* Effect.ignore(Effect.flatMap(session.get(infoHash), ({ resume }) => resume()))
      }
      for (;;) {
        const { torrents: now } = yield* session.list
        const isDone = now.every(({ state }) => state._tag === "Active" && state.state._tag === "Complete")
        if (isDone) return
        yield* Effect.sleep("20 millis")
      }
    })
  ).pipe(Effect.provide(SessionDownloads.layerIn(directory)), Effect.timeout("60 seconds"))

type Known = "absent" | "running" | "paused"

const after = (before: Known, { _tag }: SessionDownloads.Operation): Known => {
  if (_tag === "Remove") return "absent"
  if (_tag === "Rename" || _tag === "Move") return before
  return _tag === "Pause" ? "paused" : "running"
}

const numbers = [...torrents.keys()]
const hexOf = (number: number): string => InfoHash.toHex(torrents[number]!.metainfo.infoHash)

/** Compares what a run has said, and what it has left, with what was there before. */
const compare = (
  lines: ReadonlyArray<string>,
  before: { readonly known: ReadonlyArray<Known>; readonly left: ReadonlyMap<number, Left> },
  left: ReadonlyMap<number, Left>,
  what: string
): ReadonlyArray<Known> => {
  const touched = new Set<number>()
  for (const line of lines) {
    if (line.startsWith("{")) touched.add(JSON.parse(line).number)
    if (!line.startsWith("checking ")) continue
    const number = numbers.find((number) => line.endsWith(hexOf(number)))!
    const isVerifiedInVain = before.left.get(number)?.isClean === true && !touched.has(number)
    assert.isFalse(isVerifiedInVain, `${what}: torrent ${number} is verified, of which nothing was being written`)
  }
  const operations: ReadonlyArray<SessionDownloads.Operation> = lines
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line))
  const done = lines.filter((line) => line === "done").length
  const known = [...before.known]
  for (const operation of operations.slice(0, done)) {
    known[operation.number] = after(known[operation.number]!, operation)
  }
  const pending = operations[done]
  return numbers.map((number) => {
    const found = left.get(number)
    const is: Known = found === undefined ? "absent" : found.isPaused ? "paused" : "running"
    const may = [known[number]!, ...(pending?.number === number ? [after(known[number]!, pending)] : [])]
    assert.include(may, is, `${what}: torrent ${number}`)
    return is
  })
}

it.live(
  `a session of 20 torrents that are downloaded survives ${kills} kills: no torrent is lost, and no byte wrong`,
  () =>
    Effect.gen(function* () {
      const random = Prng.make(Number(seed))
      const tracker = yield* trackerOf(yield* seeder)
      const top = yield* temporary
      let directory = ""
      let known: ReadonlyArray<Known> = []
      let left: ReadonlyMap<number, Left> = new Map()
      for (let kill = 0; kill < Number(kills); kill++) {
        const moment = kill % moments.length
        if (moment === 0) {
          if (directory !== "") yield* finish(directory)
          directory = Path.join(top, String(kill))
          yield* prepare(directory, tracker)
          known = numbers.map(() => "running")
          left = new Map()
        }
        const [when, latest] = moments[moment]!
        const millis = Prng.integer(random, latest)
        const args = [directory, String(Prng.integer(random, 2 ** 31)), tracker]
        const lines = yield* Effect.promise(() => killed(program, args, when, millis))
        const what = `PIECEWISE_SEED=${seed}, kill ${kill} ${millis} ms after ${when}`

        const now = yield* inspect(directory, what)
        known = compare(lines, { known, left }, now, what)
        left = now
      }
      yield* finish(directory)
      const whole = yield* inspect(directory, "at the end")

      for (const [number, { storedPieces }] of whole) {
        assert.strictEqual(storedPieces, torrents[number]!.metainfo.layout.geometry.pieceCount)
      }
    }).pipe(Effect.provide(Logger.layer([]))),
  20_000 + Number(kills) * 10_000
)
