/**
 * Remembers the nodes of a DHT in a JSON file. A save replaces the file whole, so whoever reads it finds an old list or
 * a new one, each complete.
 *
 * Programs may share the file. One of those that run at the same time owns it (`NodeWriterLocks.ts`): it has the ids of
 * the file, and it saves. The others begin with the nodes of the file and with new ids, because no two nodes of the DHT
 * may have one id; their saves do nothing. When the owner has ended, the next one that saves is the owner. If the file
 * system has no locks, which is logged, every program takes itself for the owner.
 *
 * A file with anything else in it, such as the list of a later version, is never replaced.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as CompactPeers from "../../../../base/CompactPeers.ts"
import * as Descriptors from "../../../../base/Descriptors.ts"
import type { PeerAddress } from "../../../../base/PeerAddress.ts"
import * as PeerAddresses from "../../../../base/PeerAddress.ts"
import { WriterHeld } from "../../../../storage/provider/node/locks/LockNames.ts"
import * as NodeWriterLocks from "../../../../storage/provider/node/locks/NodeWriterLocks.ts"
import * as NodeBoundedFile from "../../../../storage/provider/node/NodeBoundedFile.ts"
import * as NodeFolders from "../../../../storage/provider/node/NodeFolders.ts"
import * as NodeWholeFile from "../../../../storage/provider/node/NodeWholeFile.ts"
import * as DhtStores from "../../DhtStore.ts"
import { DhtStore, DhtStoreError, Saved } from "../../DhtStore.ts"

/** The most bytes that are read: four times what two families can take. */
export const maxBytes = 131_072

/** Where the nodes are remembered. */
export interface Options {
  /** The path of the file. Its folder is made by the first save, with its parents. */
  readonly file: string
  /**
   * Whether nothing is written, as by a program that only looks; default `false`. It loads the nodes without their ids,
   * and its saves do nothing.
   */
  readonly isLoadOnly?: boolean | undefined
}

/** A failed call, before it becomes a `DhtStoreError`. */
class CallFailed extends Data.TaggedError("CallFailed")<{ readonly cause: unknown }> {}

/**
 * What the file has; without a number it is of version 1. Another program, or a later version of this one, has another
 * number or other fields.
 */
const Content = Schema.Struct({ version: Schema.optionalKey(Schema.Literal(1)), ...Saved.fields })

const text = Schema.fromJsonString(Schema.toCodecJson(Content))
const decode = Schema.decodeEffect(text, { onExcessProperty: "error" })
const encode = Schema.encodeEffect(text)

const sentences: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EDQUOT: "the disk quota is used up",
  EEXIST: "a file is in the way of its folder",
  EIO: "the disk reports an error",
  EISDIR: "it is a folder",
  ENOSPC: "the disk is full",
  ENOTDIR: "a part of the path is not a folder",
  EPERM: "permission denied",
  EROFS: "the disk is read-only"
}

const notOurs = "it is not a list of nodes that this version can read; move it away to have nodes remembered"

const codeOf = (cause: unknown): string | undefined => {
  const { code } = (cause ?? {}) as { readonly code?: unknown }
  return typeof code === "string" ? code : undefined
}

const messageOf = (cause: unknown): string => {
  const { message } = (cause ?? {}) as { readonly message?: unknown }
  return typeof message === "string" ? message : String(cause)
}

/** Makes a store. What it owns, it owns until the scope closes. */
export const make = Effect.fnUntraced(function* ({
  file,
  isLoadOnly = false
}: Options): Effect.fn.Return<DhtStore["Service"], never, Scope.Scope> {
  const scope = yield* Effect.scope
  const locks = NodeWriterLocks.make({ directory: Path.dirname(file) })
  let isOwner = false
  /** Whether the file has been read since it is ours: nobody else changes it then. */
  let isRead = false
  let hasNoted = false

  const failed = (operation: DhtStoreError["operation"], cause: unknown) =>
    new DhtStoreError({ operation, why: `${file}: ${sentences[codeOf(cause) ?? ""] ?? messageOf(cause)}` })

  const call = <A>(operation: DhtStoreError["operation"], promise: () => Promise<A>) =>
    Effect.tryPromise({ try: promise, catch: (cause) => new CallFailed({ cause }) }).pipe(
      Descriptors.retry,
      Effect.mapError(({ cause }) => failed(operation, cause))
    )

  /** Calls something that needs the file; `undefined` if there is none. */
  const ifThere = <A>(operation: DhtStoreError["operation"], promise: () => Promise<A>) =>
    call(operation, () =>
      promise().catch((cause: unknown) => {
        if (codeOf(cause) !== "ENOENT") throw cause
        return undefined
      })
    )

  const read = (operation: DhtStoreError["operation"]) =>
    Effect.gen(function* () {
      const bytes = yield* ifThere(operation, () => NodeBoundedFile.read(file, maxBytes))
      if (bytes === undefined) return undefined
      const { version: _, ...saved } = yield* Effect.mapError(decode(new TextDecoder().decode(bytes)), () =>
        failed(operation, new Error(notOurs))
      )
      return saved satisfies Saved as Saved
    })

  /** Warns, once, of an owner on another machine: it may have ended long ago, and only the user knows. */
  const noteHeld = (held: WriterHeld) =>
    Effect.suspend(() => {
      if (hasNoted) return Effect.void
      hasNoted = true
      const note = `The DHT has a new id, and its nodes are not saved: ${held.message}.`
      return held.entry === undefined ? Effect.logDebug(note) : Effect.logWarning(note)
    })

  const acquire = locks.acquire([[Path.basename(file)]], "the DHT").pipe(
    Scope.provide(scope),
    Descriptors.retry,
    Effect.andThen(Effect.promise(() => NodeWholeFile.removeLeftovers(file).catch(() => {}))),
    Effect.andThen(
      Effect.sync(() => {
        isOwner = true
        return true
      })
    ),
    Effect.catchIf(
      (error) => error instanceof WriterHeld,
      (held) => Effect.as(noteHeld(held), false)
    ),
    Effect.uninterruptible
  )

  /** Becomes the owner if nobody is, and returns whether this store is it. */
  const own = Effect.suspend(() => (isOwner ? Effect.succeed(true) : acquire))

  const load = Effect.gen(function* () {
    if (isLoadOnly) return withoutIds(yield* read("load"))
    // Without a file there is no id to share, and no folder for a lock.
    if ((yield* ifThere("load", () => FileSystem.stat(file))) === undefined) return undefined
    const owns = yield* Effect.catch(own, (error) => Effect.as(Effect.logDebug(error.message), false))
    const found = yield* read("load")
    if (!owns) return withoutIds(found)
    isRead = true
    return found
  })

  const save = Effect.fnUntraced(function* (saved: Saved) {
    if (!(yield* Effect.mapError(own, (error) => failed("save", error)))) return
    const others = isRead ? undefined : yield* read("save")
    const encoded = yield* Effect.orDie(encode({ version: 1, ...merge(saved, others ?? {}) }))
    yield* call("save", async () => {
      await NodeFolders.make(Path.dirname(file))
      await NodeWholeFile.replace(file, `${encoded}\n`)
    })
    isRead = true
  }, Effect.uninterruptible)

  return DhtStore.of({ load, save: isLoadOnly ? () => Effect.void : save })
})

/** Remembers nodes in a file. */
export const layer = (options: Options): Layer.Layer<DhtStore> => Layer.effect(DhtStore, make(options))

const withoutIds = (saved: Saved | undefined): Saved | undefined =>
  saved &&
  Object.fromEntries(
    CompactPeers.families.flatMap((family) => (saved[family] ? [[family, { nodes: saved[family].nodes }]] : []))
  )

/**
 * What `ours` has, and then the nodes that only `theirs` has, which an earlier owner saved. Its id of a family stays if we
 * have none, because we use no node of that family.
 */
const merge = (ours: Saved, theirs: Saved): Saved => {
  const merged: { -readonly [Family in keyof Saved]: Saved[Family] } = { ...theirs, ...ours }
  for (const family of CompactPeers.families) {
    if (ours[family] === undefined || theirs[family] === undefined) continue
    const nodes = new Map<string, PeerAddress>()
    for (const node of [...ours[family].nodes, ...theirs[family].nodes]) {
      const key = PeerAddresses.format(node)
      if (!nodes.has(key)) nodes.set(key, node)
    }
    merged[family] = {
      ...theirs[family],
      ...ours[family],
      nodes: [...nodes.values()].slice(0, DhtStores.maxSavedNodes)
    }
  }
  return merged
}
