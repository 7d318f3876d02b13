import * as FileSystem from "node:fs"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Bitfield from "../../../src/base/Bitfield.ts"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import type { PeerAddress } from "../../../src/base/PeerAddress.ts"
import * as Prng from "../../../src/base/Prng.ts"
import * as SessionMigrations from "../../../src/session/provider/node/SessionMigrations.ts"
import { kills, seed } from "../../killed.ts"
import * as Inspection from "./inspection.ts"
import * as Known from "./known.ts"
import * as Operations from "./operations.ts"
import * as Service from "./service.ts"
import * as Swarm from "./swarm.ts"
import * as Torrents from "./torrents.ts"

/** When a service is killed. */
type Moment =
  /** So many milliseconds after it was started. */
  | { readonly _tag: "Start"; readonly millis: number }
  /** So many milliseconds after the first write to a database of an older schema. */
  | { readonly _tag: "Migration"; readonly millis: number; readonly version: number }
  /** So many milliseconds after the first operation. */
  | { readonly _tag: "Work"; readonly millis: number }
  /** So many milliseconds after an operation of this kind was asked for. */
  | { readonly _tag: "Inside"; readonly millis: number; readonly operation: Known.Operation["_tag"] }

const inside = ["Add", "Remove", "Rename", "Move", "Recheck", "Remove", "Move"] as const

const draw = (random: Prng.Prng, kill: number): Moment => {
  const kind = kill % 8
  if (kind === 3) return { _tag: "Start", millis: Prng.integer(random, 1_500) }
  if (kind === 6) {
    const version = Prng.between(random, 1, SessionMigrations.all.length - 1)
    return { _tag: "Migration", millis: Prng.integer(random, 20), version }
  }
  if (kind === 0 || kind === 4) return { _tag: "Work", millis: Prng.integer(random, 2_000) }
  return { _tag: "Inside", millis: Prng.integer(random, 15), operation: inside[Prng.integer(random, inside.length)]! }
}

/** After how many milliseconds a service is killed if what the kill waits for does not happen. */
const latest = 3_000

/** Fibers that use the service at once. Each has its own torrents. */
const lanes = 3

/** The pieces that are missing of those that were stored. */
const lost = (before: Bitfield.Bitfield, now: Bitfield.Bitfield = Bitfield.make(before.length)): string =>
  [...Bitfield.indicesWithout(before, now)].join(" ")

/** What is known of the service as a whole: the goals of its labels, and its limits. */
interface Whole {
  readonly ratios: Map<string, number>
  limit: number | undefined
  /** What was asked for and not confirmed. */
  pending:
    | { readonly label: string; readonly ratio: number | undefined }
    | { readonly limit: number | undefined }
    | undefined
}

it(
  `a service survives ${kills} kills with ${Torrents.count} torrents: nothing is lost, and no byte is wrong`,
  {
    timeout: 60_000 + Number(kills) * 10_000
  },
  () => Effect.runPromise(Effect.scoped(program))
)

const program = Effect.gen(function* () {
  const began = Date.now()
  const random = Prng.make(Number(seed))
  const folder = FileSystem.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-kills-"))
  // Another file system, if there is one here.
  const memory = FileSystem.existsSync("/dev/shm") ? FileSystem.mkdtempSync("/dev/shm/piecewise-kills-") : undefined
  const downloads = Path.join(folder, "downloads")
  const folders = [undefined, Torrents.elsewhere, ...(memory === undefined ? [] : [memory])]
  const addresses = new Map<string, PeerAddress>()
  const torrents = yield* Torrents.makeAll(yield* Swarm.tracker(addresses))
  for (const torrent of torrents) addresses.set(...(yield* Swarm.seed(torrent)))
  const roots = folders.map((name) => Operations.folderOf(downloads, name))
  const foreign = folders.flatMap((name, index) => Torrents.foreignFiles(torrents, name, roots[index]!))
  Torrents.putForeign(foreign)
  const known = torrents.map(() => Known.absent())
  const whole: Whole = { ratios: new Map(), limit: undefined, pending: undefined }
  const figures = {
    started: 0,
    operations: 0,
    refused: 0,
    unconfirmed: 0,
    underWay: 0,
    verified: 0,
    completed: 0,
    readyMillis: 0
  }
  let service: Service.Service | undefined
  yield* Effect.addFinalizer(() =>
    Effect.promise(async () => {
      service?.child.kill("SIGKILL")
      await service?.ended
      if (memory !== undefined) FileSystem.rmSync(memory, { recursive: true })
    })
  )

  /** Starts the service, and compares it with what is known. */
  const check = Effect.fnUntraced(function* (what: string) {
    const may = Inspection.mayVerify(folder, torrents)
    const before = performance.now()
    service = Service.start(folder)
    const url = yield* Effect.promise(() => service!.ready)
    if (url === undefined) throw new Error(`${what}: it did not start: ${service.log()}`)
    figures.readyMillis += performance.now() - before
    figures.started++
    const client = yield* Service.client(folder, url)
    const { torrents: items, unreadable, unsettled } = yield* Inspection.untilSettled(client)
    assert.deepStrictEqual([unsettled, unreadable], [[], []], `${what}: not settled`)
    const verified = Inspection.verified(service.log())
    const own = new Set<string>()
    const faults: Array<string> = []
    for (const torrent of torrents) {
      const { name, number } = torrent
      const state = known[number]!
      const { pending } = state
      const item = items.find(({ infoHash }) => InfoHash.equals(infoHash, torrent.infoHash))
      const possible = Known.possible(torrent, state)
      const found = item && (yield* Inspection.find(client, torrent, item, state.stored))
      const isPossible = possible.some((has) => {
        if (found === undefined || has === undefined) return found === undefined && has === undefined
        // Where the files of a magnet link are is not known before its metadata is.
        return Inspection.isSame(found.stored === undefined ? { ...has, paths: found.has.paths } : has, found.has)
      })
      if (!isPossible) {
        const asked = JSON.stringify({ confirmed: state.has, pending })
        faults.push(`${name} is ${JSON.stringify(found?.has)} ${found?.state}, but ${asked}`)
      }
      if (found === undefined) {
        // Whoever removes a torrent without its files has them still.
        if (pending.some((operation) => operation._tag === "Remove" && !operation.data)) {
          for (const has of possible) if (has !== undefined) Operations.deleteFiles(downloads, has)
        }
        Object.assign(state, Known.absent(state.history))
        Known.note(state, `start ${figures.started}: absent`)
        continue
      }
      for (const place of Operations.placesOf(downloads, found.has)) own.add(place)
      faults.push(...Inspection.wrongBytes(downloads, torrent, found).map((fault) => `${name}: ${fault}`))
      const pieces = verified.get(InfoHash.toHex(torrent.infoHash)) ?? 0
      figures.verified += pieces
      const most = state.isIdle && pending.length === 0 ? 0 : may[number]!
      if (state.has !== undefined && pieces > most) {
        faults.push(
          `${name}: ${pieces} pieces were verified at the start, and ${most} were being written: ${JSON.stringify({ pending, found: found.has })}`
        )
      }
      if (
        state.stored !== undefined &&
        (found.stored === undefined || !Bitfield.isSubset(state.stored, found.stored))
      ) {
        faults.push(
          `${name}: pieces that were stored are not any more (${found.state}): ${lost(state.stored, found.stored)} of ${JSON.stringify({ pending, found: found.has })}`
        )
      }
      const isOpen = found.state !== "Paused"
      if (pending.some(Known.isOfFiles) && !isOpen) {
        // It is half done until the torrent is opened.
        for (const has of possible) for (const place of has ? Operations.placesOf(downloads, has) : []) own.add(place)
        state.has = { ...found.has, ...(state.has && { folder: state.has.folder, paths: state.has.paths }) }
        state.pending = pending.filter(Known.isOfFiles)
      } else {
        state.has = found.has
        state.pending = []
      }
      Known.note(state, `start ${figures.started}: ${found.state} ${found.stored?.count}`)
      state.hasMetadata = found.stored !== undefined
      state.stored = found.stored
      state.isIdle = found.isComplete
      if (found.isComplete) figures.completed++
      else if (found.state === "Downloading") figures.underWay++
    }
    faults.push(...Torrents.findTouched(foreign).map((path) => `${path} of somebody else was touched`))
    for (const { path } of foreign) own.add(path)
    const others = new Set(Inspection.filesIn(roots).filter((path) => !own.has(path)))
    if (others.size > 0) faults.push(`nobody has these files: ${[...others].join(", ")}`)
    const labels = new Map((yield* client.labels.list()).map(({ goal, name }) => [name, goal?.ratio]))
    const expected = new Map<string, number | undefined>(whole.ratios)
    if (whole.pending !== undefined && "label" in whole.pending) {
      const { label } = whole.pending
      if (labels.get(label) === whole.pending.ratio) expected.set(label, labels.get(label))
      if (expected.get(label) === undefined) expected.delete(label)
    }
    try {
      assert.deepStrictEqual(labels, expected)
    } catch (error) {
      faults.push(`labels: ${error}`)
    }
    const limit = Number((yield* client.service.limits()).uploadBytesPerSecond ?? 0) || undefined
    const limits = [
      whole.limit,
      ...(whole.pending !== undefined && "limit" in whole.pending ? [whole.pending.limit] : [])
    ]
    if (!limits.includes(limit)) faults.push(`the limit is ${limit} and not ${limits.join(" or ")}`)
    Object.assign(whole, { limit, pending: undefined })
    whole.ratios.clear()
    for (const [name, ratio] of labels) whole.ratios.set(name, ratio!)
    if (faults.length > 0) {
      const log = Path.join(folder, "log")
      FileSystem.writeFileSync(log, service.log())
      const histories = torrents.map(({ name, number }) => `${name}: ${known[number]!.history.join("\n  ")}\n`)
      FileSystem.writeFileSync(Path.join(folder, "histories"), histories.join(""))
      throw new Error(`${what}:\n${faults.join("\n")}\nSee log and histories in ${folder}`)
    }
    return client
  })

  /** Does something of the service as a whole. */
  const changeWhole = Effect.fnUntraced(function* (client: Service.Client, random: Prng.Prng) {
    const value = Prng.integer(random, 3) === 0 ? undefined : Prng.between(random, 1_000_000, 9_000_000)
    const label = ["films", "new"][Prng.integer(random, 2)]!
    const isLimit = Prng.integer(random, 2) === 0
    whole.pending = isLimit ? { limit: value } : { label, ratio: value }
    if (isLimit) yield* client.service.setLimits({ payload: { uploadBytesPerSecond: value } })
    else if (value === undefined) yield* client.labels.remove({ params: { name: label } })
    else yield* client.labels.set({ params: { name: label }, payload: { goal: { ratio: value } } })
    whole.pending = undefined
    if (isLimit) whole.limit = value
    else if (value === undefined) whole.ratios.delete(label)
    else whole.ratios.set(label, value)
  })

  /** Uses some of the torrents until the service is killed. */
  const use = Effect.fnUntraced(
    function* (
      client: Service.Client,
      lane: number,
      random: Prng.Prng,
      favourite: Known.Operation["_tag"] | undefined,
      onOperation: (operation: Known.Operation) => void
    ) {
      const own = torrents.filter(({ number }) => number % lanes === lane)
      while (true) {
        if (lane === 0 && Prng.integer(random, 8) === 0) yield* changeWhole(client, random)
        const torrent = own[Prng.integer(random, own.length)]!
        const state = known[torrent.number]!
        const { isIdle, pending } = state
        const operation = Known.draw(random, torrent, state, folders, favourite)
        state.pending = [...pending, operation]
        Known.note(state, JSON.stringify(operation))
        if (operation._tag !== "Look") state.isIdle = false
        onOperation(operation)
        const { has } = state
        const possible = Known.possible(torrent, { ...state, pending })
        const answer = yield* Operations.run(client, torrent, operation)
        Known.note(state, answer._tag)
        figures.operations++
        if (answer._tag === "Unknown") {
          figures.unconfirmed++
          if (operation._tag === "Look") Object.assign(state, { pending, isIdle })
          return
        }
        const mustRefuse = Known.isHindered(torrent, has, operation)
        if (mustRefuse !== (answer._tag === "Refused")) {
          throw new Error(`${torrent.name}: ${JSON.stringify({ operation, has, pending, answer })}`)
        }
        if (answer._tag === "Refused") {
          figures.refused++
          state.pending = pending
          continue
        }
        Known.confirm(state, torrent, operation)
        if (operation._tag === "Look") Object.assign(state, { stored: answer.stored, isIdle })
        if (operation._tag === "Remove") {
          // What a kill has left may be nobody's as far as anything proves. Then it is left alone, and named.
          const { kept = [] } = answer
          const left = possible
            .flatMap((one) => (one === undefined ? [] : Operations.existing(downloads, one)))
            .filter((path) => !kept.some((name) => path.endsWith(`/${name}`)))
          if (operation.data && left.length > 0) {
            throw new Error(`${torrent.name}: removed with its data, but there is ${left}: ${state.history.join(", ")}`)
          }
          for (const one of possible) if (one !== undefined) Operations.deleteFiles(downloads, one)
        }
        if (Prng.integer(random, 2) === 0) yield* Effect.sleep(Prng.integer(random, 60))
      }
    },
    Effect.catch((error: { readonly message: string }) => Effect.logDebug(error.message))
  )

  console.log(`PIECEWISE_SEED=${seed}`)
  for (let kill = 0; kill < Number(kills); kill++) {
    const moment = draw(random, kill)
    const own = Prng.fork(Number(seed), kill)
    const what = `PIECEWISE_SEED=${seed}, kill ${kill} after ${JSON.stringify(moment)}`
    if (moment._tag === "Start" || moment._tag === "Migration") {
      if (moment._tag === "Migration") Service.downgrade(folder, moment.version)
      const started = Service.start(folder)
      service = started
      const later = (millis: number) => setTimeout(() => started.child.kill("SIGKILL"), millis)
      const ending =
        moment._tag === "Start"
          ? later(moment.millis) && (() => {})
          : Service.onDatabaseWrite(folder, () => void later(moment.millis))
      yield* Effect.promise(() => started.ended)
      ending()
      assert.strictEqual(started.child.signalCode, "SIGKILL", `${what}: it ended by itself: ${started.log()}`)
      continue
    }
    const client = yield* check(`before ${what}`)
    const { child, ended } = service!
    let isTimed = false
    const later = (millis: number) => {
      isTimed = true
      setTimeout(() => child.kill("SIGKILL"), millis)
    }
    if (moment._tag === "Work") later(moment.millis)
    else setTimeout(() => isTimed || later(0), latest)
    const favourite = moment._tag === "Inside" ? moment.operation : undefined
    const onOperation = ({ _tag }: Known.Operation) => {
      if (moment._tag === "Inside" && !isTimed && _tag === moment.operation) later(moment.millis)
    }
    const using = yield* Effect.forEach(
      Array.from({ length: lanes }, (_, lane) => lane),
      (lane) => Effect.forkChild(use(client, lane, Prng.fork(Prng.integer(own, 2 ** 31), lane), favourite, onOperation))
    )
    yield* Effect.promise(() => ended)
    yield* Effect.forEach(using, (fiber) => Fiber.join(fiber))
    assert.strictEqual(child.signalCode, "SIGKILL", `${what}: it ended by itself: ${service!.log()}`)
    if (kill % 10 === 9) console.log(`  ${kill + 1} kills: ${JSON.stringify(figures)}`)
  }

  const client = yield* check(`PIECEWISE_SEED=${seed}, at the end`)
  yield* client.service.setLimits({ payload: {} })
  for (const torrent of torrents) {
    const { has } = known[torrent.number]!
    const params = { infoHash: torrent.infoHash }
    if (has === undefined) continue
    if (has.isPaused) yield* client.torrents.resume({ params, payload: {} })
    const [, address] = yield* Swarm.seed(torrent, "fast")
    addresses.set(InfoHash.toHex(torrent.infoHash), address)
  }
  const left = Inspection.untilSettled(client)
  for (const end = Date.now() + 60_000; ; ) {
    const { torrents: items } = yield* left
    const incomplete = items.filter(({ state }) => state._tag !== "Active" || state.state._tag !== "Complete")
    if (incomplete.length === 0) break
    assert.isBelow(Date.now(), end, `not complete: ${JSON.stringify(incomplete)}`)
    for (const { infoHash } of incomplete) {
      const address = addresses.get(InfoHash.toHex(infoHash))!
      yield* Effect.ignore(client.torrents.addPeers({ params: { infoHash }, payload: { addresses: [address] } }))
    }
    yield* Effect.sleep(200)
  }
  const { torrents: items } = yield* left
  for (const item of items) {
    const torrent = torrents.find(({ infoHash }) => InfoHash.equals(infoHash, item.infoHash))!
    const found = yield* Inspection.find(client, torrent, item)
    assert.deepStrictEqual(Inspection.wrongBytes(downloads, torrent, found), [])
    for (const [file, place] of Operations.placesOf(downloads, found.has).entries()) {
      assert.isTrue(FileSystem.readFileSync(place).equals(torrent.files[file]!), place)
    }
  }
  assert.deepStrictEqual(Torrents.findTouched(foreign), [])
  service!.child.kill("SIGKILL")
  yield* Effect.promise(() => service!.ended)
  FileSystem.rmSync(folder, { recursive: true })
  console.log(`${kills} kills in ${Math.round((Date.now() - began) / 1_000)} s: ${JSON.stringify(figures)}`)
})
