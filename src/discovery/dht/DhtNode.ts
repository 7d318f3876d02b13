/**
 * A node of the DHT over the UDP hub: performs what `DhtMachine.ts` wants done, and moves its time with one fiber, which
 * sleeps until the machine has something to do.
 *
 * The socket is shared with the other protocols. If it breaks, another one is asked for. What the machine throws, which
 * would be a fault of ours, is logged here and goes no further: the hub would close the socket for everybody.
 */

import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Monotonic from "../../base/Monotonic.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import type { DatagramSink } from "../../network/Transport.ts"
import type { HubSocket, UdpHub } from "../../network/UdpHub.ts"
import * as DhtMachine from "./DhtMachine.ts"
import type { NodeInfo } from "./NodeInfo.ts"
import type { Search, SearchResult } from "./NodeState.ts"
import * as RoutingTable from "./RoutingTable.ts"

/** How long to wait before another socket is asked for, in seconds: twice as long each time up to the second. */
const minRetrySeconds = 5
const maxRetrySeconds = 300

/** How often a fault of ours is logged at most, and how long the fiber rests after one, in milliseconds. */
const faultLogMillis = 60_000
const faultRestMillis = 1_000

/** Hears of peers that the node at an address names. */
export type Found = (peers: ReadonlyArray<PeerAddress>, from: PeerAddress) => void

/** What a search is heard with. */
interface Listener {
  readonly found: Found
  /** `undefined`: the socket broke. */
  readonly ended: (result: SearchResult | undefined) => void
}

/** A node. */
export interface DhtNode {
  readonly machine: DhtMachine.DhtMachine
  /** Which of the hub's hosts it has. */
  readonly host: string
  /** The local address of the socket; `undefined` while there is none. */
  readonly local: () => PeerAddress | undefined
  readonly receiveUnsafe: DatagramSink
  /** Hears of nodes of this family from the node of the other one. */
  readonly named: (nodes: ReadonlyArray<NodeInfo>) => void
  /** Runs a search; `undefined` if there is no socket, or if it broke. */
  readonly search: (search: Search, found: Found) => Effect.Effect<SearchResult | undefined>
  /** Performs what a function of the machine returns. */
  readonly act: (step: (now: number) => DhtMachine.Actions) => void
  /** Completes when the first socket is open, or cannot be opened. */
  readonly opened: Effect.Effect<void>
}

/** Runs a node until the scope closes. */
export const make = Effect.fnUntraced(function* (options: {
  readonly hub: UdpHub["Service"]
  readonly machine: DhtMachine.DhtMachine
  readonly host: string
  readonly clock: Clock.Clock
  /** Hears of nodes of the other family. */
  readonly others: (nodes: ReadonlyArray<NodeInfo>) => void
  /** Called once, when the first node has answered. */
  readonly onFirst: () => void
}): Effect.fn.Return<DhtNode, never, Scope.Scope> {
  const { clock, host, hub, machine, onFirst, others } = options
  const listeners = new Map<number, Listener>()
  const opened = Deferred.makeUnsafe<void>()
  const wake = Latch.makeUnsafe(false)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  let faultLoggedAt = Number.NEGATIVE_INFINITY
  let hasAny = false
  let socket: HubSocket | undefined
  /** When the fiber below wakes. */
  let planned = Number.NEGATIVE_INFINITY

  const perform = (actions: DhtMachine.Actions) => {
    for (const action of actions) {
      switch (action._tag) {
        case "Send":
          socket?.sendUnsafe(action.payload, action.to)
          break
        case "Found":
          listeners.get(action.task)?.found(action.peers, action.from)
          break
        case "Ended": {
          const listener = listeners.get(action.task)
          listeners.delete(action.task)
          listener?.ended(action.result)
          break
        }
        case "Named":
          others(action.nodes)
      }
    }
  }

  /** Performs a step, and returns whether nothing was thrown. */
  const attempt = (step: (now: number) => DhtMachine.Actions, now: number): boolean => {
    try {
      perform(step(now))
      return true
    } catch (cause) {
      if (now - faultLoggedAt >= faultLogMillis) {
        faultLoggedAt = now
        fork(Effect.logError(`A fault in the DHT at ${host}, which goes on:`, cause))
      }
      return false
    }
  }

  const act: DhtNode["act"] = (step) => {
    const now = Monotonic.nowUnsafe(clock)
    attempt(step, now)
    if (!hasAny && RoutingTable.size(machine.table) > 0) {
      hasAny = true
      onFirst()
    }
    if (DhtMachine.nextAt(machine, now) < planned) wake.openUnsafe()
  }

  const run = Effect.gen(function* () {
    while (true) {
      const now = Monotonic.nowUnsafe(clock)
      const isFine = attempt(() => DhtMachine.tick(machine, now), now)
      planned = Math.max(DhtMachine.nextAt(machine, now), isFine ? now : now + faultRestMillis)
      wake.closeUnsafe()
      yield* Effect.raceFirst(Effect.sleep(Math.max(1, planned - now)), wake.await)
    }
  })

  const open = Effect.gen(function* () {
    let seconds = minRetrySeconds
    while (true) {
      yield* Effect.gen(function* () {
        socket = yield* hub.socket(machine.family, host)
        seconds = minRetrySeconds
        act((now) => DhtMachine.opened(machine, now))
        yield* Deferred.succeed(opened, undefined)
        yield* Effect.raceFirst(run, socket.closed)
      }).pipe(
        Effect.scoped,
        Effect.catchTag("piecewise/ConnectionError", (error) =>
          Effect.logDebug(`no UDP socket for the DHT at ${host}: ${error.why}`)
        )
      )
      close()
      yield* Deferred.succeed(opened, undefined)
      yield* Effect.sleep(`${seconds} seconds`)
      seconds = Math.min(maxRetrySeconds, seconds * 2)
    }
  })

  /** Ends all searches too, because nobody answers them any more. */
  const close = () => {
    socket = undefined
    DhtMachine.closed(machine)
    for (const [task, listener] of [...listeners]) {
      DhtMachine.cancel(machine, task)
      listeners.delete(task)
      listener.ended(undefined)
    }
  }

  // After the fiber has ended. Whoever still waits for a search is in a longer scope.
  yield* Effect.addFinalizer(() => Effect.sync(close))
  yield* Effect.forkScoped(open)

  return {
    machine,
    host,
    local: () => socket?.local,
    act,
    opened: Deferred.await(opened),
    receiveUnsafe: (payload, from) => {
      if (socket !== undefined) act((now) => DhtMachine.receive(machine, payload, from, now))
    },
    named: (nodes) => {
      if (socket !== undefined) act((now) => DhtMachine.named(machine, nodes, now))
    },
    search: (search, found) =>
      Effect.suspend(() => {
        if (socket === undefined) return Effect.succeed(undefined)
        return Effect.callback<SearchResult | undefined>((resume) => {
          let task: number | undefined
          let isOver = false
          act((now) => {
            const begun = DhtMachine.search(machine, search, now)
            task = begun.task
            listeners.set(task, {
              found,
              ended: (ended) => {
                isOver = true
                resume(Exit.succeed(ended))
              }
            })
            return begun.actions
          })
          if (task === undefined) resume(Exit.succeed(undefined))
          return Effect.sync(() => {
            if (task === undefined || isOver) return
            listeners.delete(task)
            DhtMachine.cancel(machine, task)
          })
        })
      })
  }
})
