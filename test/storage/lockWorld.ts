/**
 * A machine in memory on which processes lock files: folders, entries and sockets, and processes that can be killed
 * between any two of their calls. Nothing happens by itself: `step` makes one waiting call happen.
 */
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import type { SystemError } from "../../src/storage/provider/node/FileSystemError.ts"
import * as LockNames from "../../src/storage/provider/node/locks/LockNames.ts"
import type { LockSystem } from "../../src/storage/provider/node/locks/NodeLockSystem.ts"
import * as NodeLockSystem from "../../src/storage/provider/node/locks/NodeLockSystem.ts"

/** What exists in a folder. */
type Node =
  | { readonly _tag: "Folder"; readonly names: Map<string, Node> }
  | { readonly _tag: "File"; readonly text: string }
  | { readonly _tag: "Socket"; listens: boolean }

interface Waiting {
  readonly pid: number
  readonly happen: () => void
}

/** The machine. */
export interface LockWorld {
  /** A process. After `kill` none of its calls happens, and none returns. */
  readonly spawn: () => { readonly system: LockSystem; readonly kill: () => void }
  /** Calls that wait to happen. */
  readonly waiting: () => number
  /** Makes the next call happen, of the process with this number (from 0, in order of creation) if it has one. */
  readonly step: (preferred: number) => void
  /** All paths below the root. */
  readonly paths: () => ReadonlyArray<string>
}

const fail = (code: string): never => {
  throw { code, message: code } satisfies SystemError
}

/** An empty machine. */
export const make = (): LockWorld => {
  const root = new Map<string, Node>()
  const pending: Array<Waiting> = []
  let spawned = 0
  let ids = 0

  const namesOf = (path: string): Map<string, Node> => {
    let names = root
    for (const name of path.split("/").filter((part) => part !== "")) {
      const node = names.get(name) ?? fail("ENOENT")
      if (node._tag !== "Folder") return fail("ENOTDIR")
      names = node.names
    }
    return names
  }
  const parentOf = (path: string) => namesOf(Path.dirname(path))
  const put = (path: string, node: Node) => {
    if (parentOf(path).has(Path.basename(path))) fail("EEXIST")
    parentOf(path).set(Path.basename(path), node)
  }
  const get = (path: string): Node => parentOf(path).get(Path.basename(path)) ?? fail("ENOENT")

  const mkdirs = (path: string) => {
    let names = root
    for (const name of path.split("/").filter((part) => part !== "")) {
      const node = names.get(name) ?? { _tag: "Folder", names: new Map<string, Node>() }
      if (node._tag !== "Folder") return fail("ENOTDIR")
      names.set(name, node)
      names = node.names
    }
  }
  const rmdir = (path: string) => {
    if (namesOf(path).size > 0) fail("ENOTEMPTY")
    parentOf(path).delete(Path.basename(path))
  }
  const answers = (path: string) => {
    try {
      const node = get(path)
      return node._tag === "Socket" && node.listens
    } catch {
      return false
    }
  }

  const spawn = () => {
    const sockets: Array<{ listens: boolean }> = []
    const pid = spawned++
    let alive = true
    const call = <A>(act: () => A): Effect.Effect<A, SystemError> =>
      Effect.callback<A, SystemError>((resume) => {
        const happen = () => {
          if (!alive) return
          try {
            resume(Effect.succeed(act()))
          } catch (error) {
            resume(Effect.fail(error as SystemError))
          }
        }
        pending.push({ pid, happen })
      })
    const move = (from: string, to: string) => {
      const node = get(from)
      parentOf(to).set(Path.basename(to), node)
      parentOf(from).delete(Path.basename(from))
    }
    const system: LockSystem = {
      mkdirs: (path) => call(() => mkdirs(path)),
      rmdir: (path) => call(() => rmdir(path)),
      list: (path) => call(() => [...namesOf(path).keys()]),
      realpath: (path) =>
        call(() => {
          namesOf(path)
          return path
        }),
      create: (path, text) => call(() => put(path, { _tag: "File", text })),
      read: (path) =>
        call(() => {
          const node = get(path)
          return node._tag === "File" ? node.text : fail("EINVAL")
        }),
      unlink: (path) =>
        call(() => {
          get(path)
          parentOf(path).delete(Path.basename(path))
        }),
      link: (from, to) => call(() => put(to, get(from))),
      rename: (from, to) => call(() => move(from, to)),
      // Two calls, because a socket has its name before it listens.
      listen: (folder, name) => {
        const socket = { _tag: "Socket" as const, listens: false }
        const start = () => {
          socket.listens = true
          sockets.push(socket)
          const close = Effect.sync(() => {
            socket.listens = false
          })
          return { close }
        }
        return Effect.andThen(
          call(() => put(Path.join(folder, name), socket)),
          call(start)
        )
      },
      answers: (folder, name) => call(() => answers(Path.join(folder, name))),
      marks: Effect.succeed(LockNames.marksOf("machine", "boot", NodeLockSystem.sha256)),
      newId: (marks) => LockNames.idOf(marks, String(ids++).padStart(16, "0")),
      self: `process ${pid}`
    }
    const kill = () => {
      alive = false
      for (const socket of sockets) socket.listens = false
    }
    return { system, kill }
  }

  const paths = (names: Map<string, Node> = root, above = ""): ReadonlyArray<string> =>
    [...names].flatMap(([name, node]) => [
      `${above}/${name}`,
      ...(node._tag === "Folder" ? paths(node.names, `${above}/${name}`) : [])
    ])

  return {
    spawn,
    waiting: () => pending.length,
    step: (preferred) => {
      const index = pending.findIndex(({ pid }) => pid === preferred)
      pending.splice(Math.max(index, 0), 1)[0]?.happen()
    },
    paths: () => paths()
  }
}
