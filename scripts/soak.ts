/**
 * Long randomized tests that are too slow for `npm test`: `npm run soak`, or some of them by name, as `npm run soak --
 * kill-filesystem`.
 *
 * `kill-filesystem` and `kill-io-daemon` download a torrent through the command line and kill it with SIGKILL at a
 * random moment, a hundred times. After each kill, every piece that the resume data lists as stored must be correct on
 * disk, and the next run must not verify more than the files that were being written. `swarms` simulates random swarms
 * for an hour, in rounds that each have a seed. `disks` runs the tests of real files and disks with other clients
 * through every storage; `npm test` runs only some of them. `matrix` prints what works with which other client, as a
 * table. `fuzz` gives a million mutated inputs to each decoder of what strangers send, and prints which of its branches
 * they reached. `sessions` kills programs that change the torrents of a session and download them, 200 times: each
 * change that was confirmed must be there, no half of another, and no wrong byte. `service` kills `piecewise serve` while
 * it downloads 24 torrents, 200 times; nothing may be lost, no byte wrong, and only files that were being written verified
 * again. `api` makes up thousands of requests to the API of a service, whose answers must be those that its OpenAPI
 * document describes. `leechers` and `mixed` compare the time of a swarm with us in it and with libtorrent in our place.
 * These two and `matrix` run in a network namespace if one can be made, so that no client reaches anything outside.
 *
 * `PIECEWISE_SEED` sets the random seed, `PIECEWISE_KILLS` the number of kills, `PIECEWISE_MINUTES` how long swarms are
 * simulated, `PIECEWISE_INPUTS` how many inputs each decoder is given, and `PIECEWISE_API_EXAMPLES` how many requests are
 * made up for each operation. Exit code 0 means that no fault was found.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Bitfield from "../src/base/Bitfield.ts"
import * as Bytes from "../src/base/Bytes.ts"
import { type PieceIndex, pieceSize } from "../src/base/PieceGeometry.ts"
import * as Prng from "../src/base/Prng.ts"
import * as NodePieceHasher from "../src/hash/provider/node/NodePieceHasher.ts"
import * as FileLayout from "../src/metainfo/FileLayout.ts"
import * as Metainfo from "../src/metainfo/Metainfo.ts"
import * as ResumeFile from "../src/resume/ResumeFile.ts"
import * as KnownTorrent from "../src/testing/KnownTorrent.ts"
import * as Command from "./command.ts"
import * as Native from "./native.ts"
import * as Python from "./python.ts"
import * as WebTorrent from "./webtorrent.ts"

const {
  PIECEWISE_INPUTS = "1000000",
  PIECEWISE_KILLS = "100",
  PIECEWISE_MINUTES = "60",
  PIECEWISE_SEED = "1"
} = process.env
const kills = Number(PIECEWISE_KILLS)
const random = Prng.make(Number(PIECEWISE_SEED))

/** The latest kill after the start of a process, in milliseconds. A whole run takes about three seconds. */
const latestKill = 3_500

/** Bytes per second. Slow enough that most kills hit a running download. */
const rate = "16MiB"

/** 40 MiB in 60 files: two of 15 MiB, and small ones, many of which share a piece. */
const files = Array.from({ length: 60 }, (_, index) => ({
  path: [`folder ${index % 5}`, `${index}.bin`],
  length: index < 2 ? 15 << 20 : 30_007 * (index % 9)
}))

const children = new Set<ChildProcess>()

const start = (script: string, args: ReadonlyArray<string>, cwd: string): ChildProcess => {
  const child = spawn(process.execPath, [path.join(Command.root, script), ...args], {
    cwd,
    env: { ...process.env, PIECEWISE_BIND: "127.0.0.1" },
    stdio: ["pipe", "pipe", "inherit"],
    // A process group, so that a kill also hits the io-daemon that it started, at the same instant.
    detached: true
  })
  children.add(child)
  child.once("close", () => children.delete(child))
  return child
}

const ended = (child: ChildProcess): Promise<number | null> => new Promise((resolve) => child.once("close", resolve))

const firstLine = (child: ChildProcess): Promise<string> =>
  new Promise((resolve) => child.stdout!.setEncoding("utf8").once("data", (text: string) => resolve(text.trim())))

/** The resume data of a torrent; `undefined` if there is none. */
const readResume = async (target: string, { infoHash, layout }: Metainfo.Metainfo) => {
  const bytes = await readFile(path.join(target, ".piecewise", `${Bytes.toHex(infoHash)}.resume`)).catch(
    () => undefined
  )
  if (bytes === undefined) return undefined
  const { geometry, files } = layout
  const decoded = ResumeFile.decode(bytes, { infoHash, pieceCount: geometry.pieceCount, fileCount: files.length })
  return Result.getOrUndefined(decoded)
}

/** The bytes of a piece on disk. Zeros for what does not exist. */
const readPiece = async (target: string, layout: FileLayout.FileLayout, piece: PieceIndex): Promise<Uint8Array> => {
  const bytes = new Uint8Array(pieceSize(layout.geometry, piece))
  for (const { begin, file, fileOffset, length } of FileLayout.pieceSpans(layout, piece)) {
    const handle = await open(path.join(target, ...layout.files[file]!.path), "r").catch(() => undefined)
    await handle?.read(bytes, begin, length, fileOffset)
    await handle?.close()
  }
  return bytes
}

/** The pieces that resume data lists as stored, but that are wrong on disk. */
const findWrong = async (target: string, metainfo: Metainfo.Metainfo, stored: Bitfield.Bitfield) => {
  const wrong: Array<number> = []
  for (const piece of Bitfield.indices(stored) as Iterable<PieceIndex>) {
    const digest = createHash("sha1")
      .update(await readPiece(target, metainfo.layout, piece))
      .digest()
    if (!Bytes.equals(digest, Metainfo.pieceDigest(metainfo, piece))) wrong.push(piece)
  }
  return wrong
}

/** Downloads until `kills` processes were killed. Returns the faults that were found, as sentences. */
const killLoop = async (folder: string, storage: "filesystem" | "io-daemon"): Promise<ReadonlyArray<string>> => {
  const known = await Effect.runPromise(
    Effect.provide(KnownTorrent.make({ name: "soak", files, pieceLength: 262_144 }), NodePieceHasher.layer)
  )
  const { metainfo } = known
  const { layout } = metainfo
  for (const [index, file] of layout.files.entries()) {
    const place = path.join(folder, "seed", ...file.path)
    await mkdir(path.dirname(place), { recursive: true })
    await writeFile(place, known.fileContent(index))
  }
  await writeFile(path.join(folder, "soak.torrent"), known.bytes)
  const seeder = start("scripts/seeder.ts", ["soak.torrent", "seed"], folder)
  const address = await firstLine(seeder)
  const target = path.join(folder, "target")
  const faults: Array<string> = []
  let completed = 0
  let verified = 0

  for (let kill = 0; kill < kills; ) {
    const before = await readResume(target, metainfo)
    const child = start(
      "src/node/main.ts",
      [
        "download",
        "soak.torrent",
        "-o",
        "target",
        "--peer",
        address,
        "--storage",
        storage,
        "--limit-down",
        rate,
        "--json"
      ],
      folder
    )
    const end = ended(child)
    let output = ""
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      output += text
    })
    const timer = setTimeout(() => process.kill(-child.pid!, "SIGKILL"), Prng.integer(random, latestKill))
    const code = await end
    clearTimeout(timer)
    const events = output.split("\n").flatMap((line) => (line.endsWith("}") ? [JSON.parse(line)] : []))
    const toVerify = events.find(({ _tag }) => _tag === "Checking")?.totalPieces ?? 0
    verified += toVerify
    const written = new Set<number>()
    for (const [file, { isWriting }] of before?.files ?? []) {
      const { end, first } = FileLayout.filePieces(layout, file)
      if (isWriting) for (let piece = first; piece < end; piece++) written.add(piece)
    }
    if (before !== undefined && toVerify > written.size) {
      faults.push(`kill ${kill}: ${toVerify} pieces were verified, and ${written.size} were being written`)
    }
    if (code === 0) {
      completed++
      const wrong = await findWrong(target, metainfo, Bitfield.full(layout.geometry.pieceCount))
      if (wrong.length > 0) faults.push(`kill ${kill}: complete, and pieces ${wrong.join(" ")} are wrong`)
      await rm(target, { recursive: true })
      continue
    }
    if (code !== null)
      faults.push(`kill ${kill}: it exited by itself with code ${code}: ${JSON.stringify(events.at(-1))}`)
    kill++
    const resume = await readResume(target, metainfo)
    const wrong = resume === undefined ? [] : await findWrong(target, metainfo, resume.stored)
    if (wrong.length > 0) faults.push(`kill ${kill}: pieces ${wrong.join(" ")} are listed as stored, but wrong`)
    if (kill % 10 === 0) console.log(`  ${kill} kills, ${completed} completed, ${verified} pieces verified at a start`)
  }
  seeder.stdin!.end()
  await ended(seeder)
  return faults
}

/** Random swarms of each kind in a round. A round takes well under the time limit of its tests. */
const swarmsPerRound = 20

const swarms = async (): Promise<ReadonlyArray<string>> => {
  const faults: Array<string> = []
  const end = Date.now() + Number(PIECEWISE_MINUTES) * 60_000
  for (let round = 1; Date.now() < end; round++) {
    const env = { PIECEWISE_RUNS: String(swarmsPerRound), PIECEWISE_SEED: String(Prng.integer(random, 2 ** 31)) }
    const tests = ["test/simulation/RandomSwarm.test.ts", "test/simulation/Turmoil.test.ts"]
    const isRight = await Command.capture("vitest", ["run", ...tests], { env }).then(
      () => true,
      (error: unknown) => {
        if (!(error instanceof Command.CommandFailed)) throw error
        console.log(error.output)
        return false
      }
    )
    if (!isRight) faults.push(`a swarm of PIECEWISE_SEED=${env.PIECEWISE_SEED} is wrong`)
    const count = round * swarmsPerRound
    console.log(`  seed ${env.PIECEWISE_SEED}: ${isRight ? "right" : "wrong"}; ${count} swarms of each kind so far`)
  }
  return faults
}

/** The variables of tests that kill processes: 200 times, unless `PIECEWISE_KILLS` says how often. */
const killing = () => ({ PIECEWISE_KILLS: process.env["PIECEWISE_KILLS"] ?? "200", PIECEWISE_SEED })

const sessions = async (): Promise<ReadonlyArray<string>> => {
  const tests = ["session/SessionKills", "node/NodeSessionKills", "node/SessionDownloadKills"]
  const files = tests.map((test) => `test/${test}.test.ts`)
  await Command.show("vitest", ["run", ...files], { env: killing() })
  return []
}

const service = async (): Promise<ReadonlyArray<string>> => {
  await Command.show("vitest", ["run", "test/cli/kills"], { env: killing() })
  return []
}

const api = async (): Promise<ReadonlyArray<string>> => {
  await Python.prepare()
  const { PIECEWISE_API_EXAMPLES = "300" } = process.env
  const env = { PIECEWISE_API_EXAMPLES, PIECEWISE_SEED }
  await Command.show(Python.interpreter, ["-m", "pytest", "-q", "test/interop/test_service_api.py"], { env })
  return []
}

const disks = async (): Promise<ReadonlyArray<string>> => {
  await Python.prepare()
  await Native.build()
  await Python.test({ PIECEWISE_SOAK: "true" })
  return []
}

/** How long a fuzzed process may say nothing (milliseconds). It does so after every few seconds. */
const maxSilence = 120_000

/** What a fuzzed process may have on its heap, in MiB. */
const fuzzHeap = 512

/** Runs in a process of its own, which is killed if a decoder hangs. */
const fuzz = async (): Promise<ReadonlyArray<string>> => {
  const args = ["test/fuzz/main.ts", PIECEWISE_INPUTS, PIECEWISE_SEED]
  const child = spawn(process.execPath, [`--max-old-space-size=${fuzzHeap}`, ...args], {
    cwd: Command.root,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true
  })
  children.add(child)
  const faults: Array<string> = []
  const silent = () => {
    faults.push(`a decoder hangs: nothing was printed for ${maxSilence / 1_000} s`)
    process.kill(-child.pid!, "SIGKILL")
  }
  let timer = setTimeout(silent, maxSilence)
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    clearTimeout(timer)
    timer = setTimeout(silent, maxSilence)
    process.stdout.write(text)
  })
  child.stderr!.setEncoding("utf8").on("data", (text: string) => faults.push(text.trimEnd()))
  const code = await ended(child)
  clearTimeout(timer)
  children.delete(child)
  return code === 0 || faults.length > 0 ? faults : [`the process ended with ${code}`]
}

/** The first half of the addresses in the namespace. Transmission dials nothing in 127.0.0.0/8. */
const network = "10.9"

/** Runs the command in its arguments where the only network is loopback, and has every address of `network`. */
const isolated = [
  "unshare",
  "--net",
  "--map-root-user",
  "sh",
  "-c",
  `ip link set lo up && ip address add ${network}.0.1/16 dev lo && exec "$@"`,
  "sh"
] as const

/** Runs Python with other clients, isolated if that is possible. */
const withClients = async (args: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  await Python.prepare()
  try {
    await WebTorrent.prepare()
  } catch (error) {
    if (!(error instanceof Command.CommandFailed)) throw error
    console.log(`WebTorrent is left out: ${error.message}`)
  }
  const [unshare, ...options] = isolated
  const isIsolated = await Command.works(unshare, [...options, "true"])
  if (!isIsolated) console.log("no network namespace can be made here (unshare, ip), so loopback itself is used")
  const command = [...(isIsolated ? isolated : []), Python.interpreter, ...args]
  const env = { PIECEWISE_MATRIX: "true", ...(isIsolated ? { PIECEWISE_MATRIX_NETWORK: network } : {}) }
  await Command.show(command[0]!, command.slice(1), { env })
  return []
}

const pytest = ["-m", "pytest", "-q", "--tb=short", "-rN", "--numprocesses", "3"] as const
const compare = "test/interop/compare_swarms.py"

const searches: Readonly<Record<string, (folder: string) => Promise<ReadonlyArray<string>>>> = {
  "kill-filesystem": (folder) => killLoop(folder, "filesystem"),
  "kill-io-daemon": async (folder) => {
    await Native.build()
    return killLoop(folder, "io-daemon")
  },
  swarms,
  sessions,
  service,
  fuzz,
  api,
  disks,
  matrix: () => withClients([...pytest, "test/interop/test_matrix.py"]),
  leechers: () => withClients([compare, "leechers"]),
  mixed: () => withClients([compare, "mixed"])
}

const chosen = process.argv.slice(2)
const unknown = chosen.filter((name) => !Object.hasOwn(searches, name))
if (unknown.length > 0) {
  console.error(`no soak test is named ${unknown.join(", ")}; the names are ${Object.keys(searches).join(", ")}`)
  process.exit(2)
}

let failed = 0
for (const [name, search] of Object.entries(searches)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue
  console.log(`== ${name}`)
  const folder = await mkdtemp(path.join(tmpdir(), "piecewise-soak-"))
  try {
    const faults = await search(folder).catch((error: unknown) => {
      if (!(error instanceof Command.CommandFailed)) throw error
      return [`${error.output}${error.message}`]
    })
    for (const fault of faults) console.error(fault)
    if (faults.length > 0) failed++
    console.log(`== ${name}: ${faults.length === 0 ? "nothing found" : `${faults.length} faults`}`)
  } finally {
    for (const child of children) process.kill(-child.pid!, "SIGKILL")
    await rm(folder, { recursive: true, force: true })
  }
}
process.exitCode = failed === 0 ? 0 : 1
