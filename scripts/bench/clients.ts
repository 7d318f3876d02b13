/** The clients that `npm run bench` measures: how each is found, started, and known to be done. */
import { access, mkdir, writeFile } from "node:fs/promises"
import * as path from "node:path"
import * as Command from "../command.ts"
import * as Python from "../python.ts"
import * as WebTorrent from "../webtorrent.ts"
import type { Content } from "./content.ts"

/** One download, or one verification of what is there. */
export interface Task {
  readonly content: Content
  /** A copy of the torrent that names the tracker. */
  readonly announced: string
  /** A folder for the client's own files. */
  readonly home: string
  /** Where the content arrives, or is. */
  readonly folder: string
  /** The seeders; none if `folder` is to be verified. */
  readonly peers: ReadonlyArray<string>
  /** The command line of piecewise. */
  readonly piecewise: string
}

/** A command, and how it says that it is done; without that it is done when it ends. See `run.py`. */
export interface Start {
  readonly command: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
  /** Texts in lines of its output: all pieces are stored, and everything is flushed. */
  readonly marks?: Readonly<Record<string, string>>
  /** A file that exists when it is done. */
  readonly doneFile?: string
  /** Whether it has to be stopped then. */
  readonly stops?: boolean
}

export interface Client {
  /** Its name as an option. */
  readonly key: string
  /** Its name in tables. */
  readonly name: string
  /** Its version, or why it cannot be measured here. */
  readonly find: (task: {
    readonly piecewise: string
  }) => Promise<{ readonly version: string } | { readonly missing: string }>
  /** `undefined` if it cannot do this. */
  readonly start: (task: Task) => Promise<Start | undefined>
}

const firstLine = async (program: string, ...args: ReadonlyArray<string>): Promise<string | undefined> => {
  try {
    return (await Command.capture(program, args)).trim().split("\n")[0]!
  } catch (error) {
    if (!(error instanceof Command.CommandFailed)) throw error
    return undefined
  }
}

/** Finds a program that prints its version. */
const program =
  (name: string, install: string): Client["find"] =>
  async () => {
    const line = await firstLine(name, "--version")
    if (line === undefined) return { missing: `${name} is not installed (${install})` }
    return { version: /\d+\.[\w.-]*/.exec(line)?.[0] ?? line }
  }

/** A shell script that makes a file. Clients run such a script when they are done. */
const touchScript = async (task: Task): Promise<{ readonly script: string; readonly doneFile: string }> => {
  const [script, doneFile] = [path.join(task.home, "done.sh"), path.join(task.home, "done")]
  await writeFile(script, `#!/bin/sh\n: > '${doneFile}'\n`, { mode: 0o755 })
  return { script, doneFile }
}

/** The version of the command line, and the commit that it was built from. */
const ownVersion: Client["find"] = async ({ piecewise }) => {
  const version = await firstLine(process.execPath, piecewise, "--version")
  const commit = await firstLine("git", "rev-parse", "--short", "HEAD")
  return { version: `${version?.replace(/^\D*/, "")}${commit === undefined ? "" : ` (${commit})`}` }
}

const download = (task: Task, ...more: ReadonlyArray<string>): Start => ({
  command: [
    process.execPath,
    task.piecewise,
    "download",
    task.content.torrent,
    "--output",
    task.folder,
    "--json",
    "--no-dht",
    ...more,
    ...task.peers.flatMap((peer) => ["--peer", peer])
  ],
  env: { PIECEWISE_BIND: "127.0.0.1" },
  marks: { stored: '"_tag":"Flushing"', complete: '"_tag":"Completed"' }
})

const piecewise: Client = {
  key: "piecewise",
  name: "piecewise",
  find: ownVersion,
  start: async (task) =>
    task.peers.length > 0
      ? download(task)
      : { command: [process.execPath, task.piecewise, "verify", task.content.torrent, task.folder, "--quiet"] }
}

const daemon = path.join(Command.root, "native-host", "target", "release", "piecewise-io-daemon")

const ioDaemon: Client = {
  key: "io-daemon",
  name: "piecewise, by its io-daemon",
  find: async (task) =>
    (await access(daemon).then(
      () => true,
      () => false
    ))
      ? ownVersion(task)
      : { missing: "the io-daemon is not built (npm test -- native)" },
  start: async (task) => {
    if (task.peers.length === 0) return undefined
    const { env, ...start } = download(task, "--storage", "io-daemon")
    return { ...start, env: { ...env, PIECEWISE_IO_DAEMON: daemon } }
  }
}

const libtorrentScript = path.join(import.meta.dirname, "libtorrent_client.py")

const libtorrent: Client = {
  key: "libtorrent",
  name: "libtorrent",
  find: async () => {
    const version = await firstLine(Python.interpreter, "-c", "import libtorrent; print(libtorrent.__version__)")
    return version === undefined ? { missing: "its Python module is not installed" } : { version }
  },
  start: async ({ content, folder, peers }) => ({
    command: [Python.interpreter, libtorrentScript, content.torrent, folder, ...peers],
    marks: { stored: "done" }
  })
}

const aria2: Client = {
  key: "aria2",
  name: "aria2",
  find: program("aria2c", "apt-get install aria2"),
  start: async (task) => {
    const command = [
      "aria2c",
      "--no-conf",
      "--no-netrc",
      `--dir=${task.folder}`,
      `--torrent-file=${task.announced}`,
      "--interface=127.0.0.1",
      "--disable-ipv6=true",
      "--enable-dht=false",
      "--enable-dht6=false",
      "--bt-enable-lpd=false",
      "--enable-peer-exchange=false",
      "--bt-max-peers=0",
      "--seed-time=0",
      "--allow-overwrite=true",
      "--summary-interval=0",
      "--show-console-readout=false"
    ]
    if (task.peers.length === 0) return { command: [...command, "--check-integrity=true", "--hash-check-only=true"] }
    const { doneFile, script } = await touchScript(task)
    // Preallocation, its default, writes every byte twice on file systems that cannot reserve space.
    return { command: [...command, "--file-allocation=none", `--on-bt-download-complete=${script}`], doneFile }
  }
}

const rqbit: Client = {
  key: "rqbit",
  name: "rqbit",
  find: program("rqbit", "cargo install rqbit@9.1.0 --locked"),
  start: async ({ content, folder, home, peers }) => ({
    command: [
      "rqbit",
      "-v",
      "error",
      "--http-api-listen-addr",
      "127.0.0.1:0",
      "--disable-dht",
      "--disable-dht-persistence",
      "--disable-lsd",
      "--disable-upnp-port-forward",
      "--listen-ip",
      "127.0.0.1",
      "download",
      "--output-folder",
      folder,
      "--exit-on-finish",
      "--overwrite",
      ...(peers.length > 0 ? ["--initial-peers", peers.join(",")] : []),
      content.torrent
    ],
    env: { HOME: home }
  })
}

const transmission: Client = {
  key: "transmission",
  name: "Transmission",
  find: program("transmission-daemon", "apt-get install transmission-daemon"),
  start: async (task) => {
    if (task.peers.length === 0) return undefined
    const { doneFile, script } = await touchScript(task)
    const settings = {
      "bind-address-ipv4": "127.0.0.1",
      "peer-port-random-on-start": true,
      "port-forwarding-enabled": false,
      "dht-enabled": false,
      "lpd-enabled": false,
      "utp-enabled": false,
      "pex-enabled": false,
      "rpc-enabled": false,
      encryption: 0,
      "download-dir": task.folder,
      "script-torrent-done-enabled": true,
      "script-torrent-done-filename": script,
      "watch-dir": path.dirname(task.announced),
      "watch-dir-enabled": true
    }
    await mkdir(path.join(task.home, "transmission"))
    await writeFile(path.join(task.home, "transmission", "settings.json"), JSON.stringify(settings))
    return {
      command: ["transmission-daemon", "--foreground", "--config-dir", path.join(task.home, "transmission")],
      doneFile,
      stops: true
    }
  }
}

const webTorrentScript = path.join(import.meta.dirname, "webtorrent.mjs")

const webTorrent: Client = {
  key: "webtorrent",
  name: "WebTorrent",
  find: async () => {
    try {
      await WebTorrent.prepare()
      return { version: WebTorrent.version }
    } catch (error) {
      if (!(error instanceof Command.CommandFailed)) throw error
      return { missing: `npm did not install it: ${error.message}` }
    }
  },
  start: async ({ content, folder, peers }) => ({
    command: [process.execPath, webTorrentScript, content.torrent, folder, WebTorrent.folder, ...peers],
    marks: { stored: '"port"' },
    stops: true
  })
}

/** Takes bytes with Node alone. */
export const bareScript = path.join(import.meta.dirname, "bare.ts")

const bare: Client = {
  key: "bare",
  name: "bare script",
  find: async () => ({ version: `Node ${process.versions.node}` }),
  start: async ({ content, folder, peers }) =>
    peers.length === 0
      ? undefined
      : { command: [process.execPath, bareScript, content.plan, folder, ...peers], marks: { stored: "done" } }
}

const ceiling: Client = {
  key: "ceiling",
  name: "seeder's ceiling",
  find: async () => ({ version: `Node ${process.versions.node}` }),
  start: async ({ content, peers }) =>
    peers.length === 0
      ? undefined
      : { command: [process.execPath, bareScript, content.plan, "", ...peers], marks: { stored: "done" } }
}

/** In the order of the table. */
export const all: ReadonlyArray<Client> = [
  piecewise,
  ioDaemon,
  aria2,
  libtorrent,
  rqbit,
  transmission,
  webTorrent,
  bare,
  ceiling
]
