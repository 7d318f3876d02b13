/**
 * Open files of many torrents within a bound: to open another one, the least recently used idle file is closed.
 *
 * A `Slot` stands for one file, opened in one way; its owner knows how to open it (`TorrentFile.ts`). To open, use and
 * release a slot is one uninterruptible region, entered after an interruptible wait for a turn. So no interruption can
 * leave a descriptor open, or close one that a read or write in flight still needs.
 *
 * There are no more turns than files may be open. So whoever has a turn finds a free place or an idle file to close, and
 * does not wait for others that have a turn. Therefore all of them end.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Turn from "../../../base/Turn.ts"
import type { StorageReason } from "../../Storage.ts"
import type { SystemError } from "./FileSystemError.ts"

/** Why a slot's file could not be opened. */
export interface OpenFailure {
  readonly reason: StorageReason
  /** Whether no descriptors are left (EMFILE, ENFILE), so that closing another file may help. */
  readonly exhausted: boolean
  /** Whether the file, or a folder on the way to it, does not exist (ENOENT). */
  readonly missing: boolean
  /** Whether the file system cannot hold a name like that; see `FileSystemError.isUnnameable`. */
  readonly unnameable?: boolean | undefined
}

/** A failure that no other descriptor or folder would help. */
export const refusal = (reason: StorageReason): OpenFailure => ({ reason, exhausted: false, missing: false })

/** A file that is open, or will be when it is needed. Made by `makeSlot`, changed only here. */
export interface Slot {
  readonly open: Effect.Effect<number, OpenFailure>
  readonly closeFailed: (error: SystemError) => void
  readonly isLocal: () => boolean
  fd: number | undefined
  isClosing: boolean
  users: number
  opening: Deferred.Deferred<Result.Result<number, OpenFailure>> | undefined
  /** Set when the file must not be used again; completes when it is closed. */
  retired: Deferred.Deferred<void> | undefined
}

/** A slot whose file is not open. */
export const makeSlot = (options: {
  /** Opens the file; runs uninterruptibly, and leaves nothing open if it fails. */
  readonly open: Effect.Effect<number, OpenFailure>
  /** Called with an error of `close`, by which network disks report deferred writes. */
  readonly closeFailed: (error: SystemError) => void
  /** Whether the file is on a disk of this machine, so that it may be closed at once. */
  readonly isLocal: () => boolean
}): Slot => ({ ...options, fd: undefined, isClosing: false, users: 0, opening: undefined, retired: undefined })

/** Whether a slot has a descriptor, or `closeFailed` may still be called for one. */
export const isOpen = ({ fd, isClosing, opening }: Slot): boolean =>
  fd !== undefined || isClosing || opening !== undefined

/** The open files of one process, or of one part of it. */
export interface FileHandles {
  /**
   * Runs `use` with the descriptor of the slot that `pick` chooses; it stays open meanwhile. Uninterruptible once the
   * wait for a place is over. `pick` runs after that wait, so it sees what happened during it, and must not suspend.
   */
  readonly use: <A, E>(
    pick: () => Result.Result<Slot, StorageReason>,
    use: (fd: number) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | StorageReason>
  /**
   * Begins a use of a file that is open, if nobody has to wait for it; returns whether it did. `end` has to follow, and
   * returns what is left to run, if anything.
   */
  readonly begin: (slot: Slot) => boolean
  readonly end: (slot: Slot) => Effect.Effect<void> | undefined
  /** Closes the slot's file for ever, after its last user; completes when it is closed. */
  readonly retire: (slot: Slot) => Effect.Effect<void>
  /** Runs what opens and closes one descriptor of its own, which counts meanwhile. Uninterruptible, as `use` is. */
  readonly beside: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /**
   * Closes an idle file, if there is one, because something else needs its descriptor; returns whether it did. If it
   * did, fewer files are kept open for a while, but never fewer than `maxInUse`.
   */
  readonly closeIdle: Effect.Effect<boolean>
  /** Descriptors that are open, being opened or being closed. */
  readonly openCount: () => number
}

/**
 * Files that may be in use at a time; as many stay open however few descriptors are left. Half of the smallest
 * customary limit, 64, and many times the calls that libuv runs at once.
 */
export const maxInUse = 32

const opensToRecover = 64

/** Makes a cache of at most `capacity` open files, at least 1. */
export const make = (options: {
  readonly capacity: number
  readonly close: (fd: number) => Effect.Effect<void, SystemError>
  /** Closes a file on a disk of this machine at once, unless it returns `undefined`. */
  readonly closeNow: (fd: number) => Result.Result<void, SystemError> | undefined
}): FileHandles => {
  const turn = Turn.make(Math.min(options.capacity, maxInUse))
  // Open and idle, the least recently used first. Touched only synchronously, between two suspensions.
  const idle = new Set<Slot>()
  let places = 0
  let bound = options.capacity
  let openedSince = 0

  const noteClosed = (slot: Slot, result: Result.Result<void, SystemError>): void => {
    slot.isClosing = false
    places--
    if (Result.isFailure(result)) slot.closeFailed(result.failure)
  }

  const forget = (slot: Slot): void => {
    slot.fd = undefined
    idle.delete(slot)
  }

  /** Closes the file of a slot if that takes no wait. Returns whether it is closed. */
  const closeHere = (slot: Slot): boolean => {
    if (slot.fd === undefined) return true
    const closed = slot.isLocal() ? options.closeNow(slot.fd) : undefined
    if (closed === undefined) return false
    forget(slot)
    noteClosed(slot, closed)
    return true
  }

  /** The same, and returns how to close it if it is not closed. */
  const close = (slot: Slot): Effect.Effect<void> | undefined => {
    const { fd } = slot
    if (fd === undefined || closeHere(slot)) return undefined
    // Before anything suspends: once the system has the number back, it may mean another file.
    forget(slot)
    slot.isClosing = true
    return Effect.map(Effect.result(options.close(fd)), (result) => noteClosed(slot, result))
  }

  const evict = Effect.suspend(() => {
    const oldest = idle.values().next()
    if (oldest.done) return Effect.succeed(false)
    const closing = close(oldest.value)
    return closing === undefined ? Effect.succeed(true) : Effect.as(closing, true)
  })

  /** Closes idle files while more are open than allowed. */
  const makeRoom = Effect.gen(function* () {
    while (places > bound) if (!(yield* evict)) break
  })

  /** Closes an idle file because descriptors have run out, and keeps fewer open for a while. */
  const giveWay = Effect.map(evict, (isClosed) => {
    if (!isClosed) return false
    bound = Math.min(bound, Math.max(maxInUse, places))
    openedSince = 0
    return true
  })

  /** A shortage may pass: after each `opensToRecover` files that were opened without one, another may stay open. */
  const recover = (): void => {
    if (bound < options.capacity && ++openedSince % opensToRecover === 0) bound++
  }

  const open = Effect.fnUntraced(function* (slot: Slot) {
    places++
    yield* makeRoom
    let result = yield* Effect.result(slot.open)
    while (Result.isFailure(result) && result.failure.exhausted && (yield* giveWay)) {
      result = yield* Effect.result(slot.open)
    }
    if (Result.isSuccess(result)) {
      slot.fd = result.success
      recover()
    } else places--
    return result
  })

  /** Opens a slot whose file is not open, or waits for whoever does. */
  const acquire = Effect.fnUntraced(function* (slot: Slot) {
    if (slot.opening !== undefined) return yield* Deferred.await(slot.opening)
    const opening = Deferred.makeUnsafe<Result.Result<number, OpenFailure>>()
    slot.opening = opening
    const result = yield* open(slot)
    slot.opening = undefined
    Deferred.doneUnsafe(opening, Effect.succeed(result))
    return result
  })

  const finish = (slot: Slot, retired: Deferred.Deferred<void>): Effect.Effect<unknown> | undefined => {
    const closing = close(slot)
    if (closing !== undefined) return Effect.andThen(closing, Deferred.succeed(retired, undefined))
    Deferred.doneUnsafe(retired, Effect.void)
    return undefined
  }

  /**
   * Ends a use; returns how to close the file, if it was the last one of a file that is retired and closing it takes a
   * wait.
   */
  const release = (slot: Slot): Effect.Effect<unknown> | undefined => {
    if (--slot.users > 0) return undefined
    if (slot.retired !== undefined) return finish(slot, slot.retired)
    if (slot.fd !== undefined) idle.add(slot)
    return undefined
  }

  const useOpened = <A, E>(slot: Slot, use: (fd: number) => Effect.Effect<A, E>) =>
    Effect.flatMap(
      acquire(slot),
      (result): Effect.Effect<A, E | StorageReason> =>
        Result.isSuccess(result) ? use(result.success) : Effect.fail(result.failure.reason)
    )

  const endTurn = Effect.sync(() => Turn.end(turn))

  /** Must be evaluated at once by whoever has a turn, which it ends. */
  const usePicked = <A, E>(
    pick: () => Result.Result<Slot, StorageReason>,
    use: (fd: number) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | StorageReason> => {
    let slot: Slot | undefined
    const using = Effect.suspend((): Effect.Effect<A, E | StorageReason> => {
      const picked = pick()
      if (Result.isFailure(picked)) return Effect.fail(picked.failure)
      slot = picked.success
      slot.users++
      idle.delete(slot)
      return slot.fd === undefined ? useOpened(slot, use) : use(slot.fd)
    })
    // Hot path: a piece is written in here, so this has no more effects than it needs.
    return Effect.onExitPrimitive(using, () => end(slot))
  }

  /** Ends a turn, and the use of a slot if one was picked. */
  const end = (slot: Slot | undefined): Effect.Effect<void> | undefined => {
    const closing = slot === undefined ? undefined : release(slot)
    if (closing !== undefined) return Effect.ensuring(Effect.asVoid(closing), endTurn)
    Turn.end(turn)
    return undefined
  }

  return {
    use: (pick, use) =>
      Effect.uninterruptibleMask((restore) =>
        Turn.takeNow(turn) ? usePicked(pick, use) : Effect.flatMap(Turn.wait(turn, restore), () => usePicked(pick, use))
      ),
    beside: (effect) =>
      Turn.take(
        turn,
        Effect.uninterruptible(
          Effect.suspend(() => {
            places++
            const used = Effect.onExitPrimitive(effect, () => void places--)
            return places > bound ? Effect.andThen(makeRoom, used) : used
          })
        )
      ),
    begin: (slot) => {
      if (slot.fd === undefined || slot.retired !== undefined || !Turn.takeNow(turn)) return false
      slot.users++
      idle.delete(slot)
      return true
    },
    end,
    retire: (slot) =>
      Effect.uninterruptible(
        Effect.suspend(() => {
          if (slot.retired !== undefined) return Deferred.await(slot.retired)
          const retired = Deferred.makeUnsafe<void>()
          slot.retired = retired
          if (slot.users > 0) return Deferred.await(retired)
          if (closeHere(slot)) return Deferred.succeed(retired, undefined)
          // In a place of its own, or another file would be opened before this one is closed.
          return Turn.take(
            turn,
            Effect.suspend(() => (slot.users > 0 ? Deferred.await(retired) : (finish(slot, retired) ?? Effect.void)))
          )
        })
      ),
    closeIdle: Effect.uninterruptible(giveWay),
    openCount: () => places
  }
}
