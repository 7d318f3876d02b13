/** What every transport does about connections that are made, refused and accepted. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Dialer, Listener, NamedFrom } from "../../network/Transport.ts"
import * as Assert from "./Assert.ts"
import * as Suite from "./Suite.ts"
import * as Probe from "./TransportProbe.ts"

const { assertSame, collector, eventually, pattern, settle } = Probe

/** The cases. */
export const cases = ({ handles, host }: Probe.Medium): ReadonlyArray<Suite.Case<Dialer | Listener>> => [
  Suite.test(
    "is refused if nothing listens",
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { address } = yield* Scope.provide((yield* Listener).listen({ host, port: 0 }), scope)
      yield* Scope.close(scope, Exit.void)

      const error = yield* Effect.flip((yield* Dialer).connect(address))

      Assert.strictEqual(error.message, "connection refused")
      Assert.deepStrictEqual(error.address, address)
      yield* eventually(Effect.map(handles, (now) => now === 0))
    })
  ),

  Suite.test(
    "follows no name to this machine that somebody in the internet named",
    Effect.gen(function* () {
      const { address } = yield* (yield* Listener).listen({ host, port: 0 })
      const named = { host: "localhost", port: address.port }

      const connected = yield* Effect.exit(
        Effect.provideService((yield* Dialer).connect(named), NamedFrom, "public" as const)
      )

      Assert.isTrue(Exit.isFailure(connected), "connecting fails")
    })
  ),

  Suite.test(
    "leaves nothing behind when connecting is interrupted, whenever that is",
    Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const dialer = yield* Dialer
        const listening = yield* (yield* Listener).listen({ host, port: 0 })
        const untilClosed = Effect.flatMap(listening.accept, (far) => {
          far.receiveUnsafe(() => true)
          return Effect.exit(far.closed)
        })
        const taker = yield* Effect.forkScoped(Effect.forever(Effect.scoped(untilClosed)))
        for (let turns = 0; turns < 24; turns++) {
          const dial = yield* Effect.forkScoped(
            Effect.scoped(Effect.andThen(dialer.connect(listening.address), Effect.never))
          )
          for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow

          yield* Fiber.interrupt(dial)
        }

        // The port is left.
        yield* eventually(Effect.map(handles, (now) => now <= 1))
        yield* Fiber.interrupt(taker)
      }).pipe(Effect.scoped)

      yield* eventually(Effect.map(handles, (now) => now === 0))
    })
  ),

  Suite.test(
    "waits to accept, and an interrupted accept takes no connection",
    Effect.gen(function* () {
      const dialer = yield* Dialer
      const listening = yield* (yield* Listener).listen({ host, port: 0 })
      const first = yield* Effect.forkScoped(listening.accept)
      const second = yield* Effect.forkScoped(listening.accept)
      yield* settle
      yield* Fiber.interrupt(first)

      const near = yield* dialer.connect(listening.address)
      const far = yield* Fiber.join(second)
      const atFar = collector()
      far.receiveUnsafe(atFar.sink)
      near.writeUnsafe(pattern(10))

      yield* atFar.until(10)
    })
  ),

  Suite.test(
    "closes a connection at once that exceeds the backlog",
    Effect.gen(function* () {
      const dialer = yield* Dialer
      const listening = yield* (yield* Listener).listen({ host, port: 0, backlog: 2 })

      const nears = yield* Effect.forEach([1, 2, 3], () => dialer.connect(listening.address))
      for (const near of nears) near.receiveUnsafe(() => true)
      // Which one it is depends on the order of their arrival.
      yield* Effect.exit(Effect.raceAllFirst(nears.map((near) => near.closed)))
      const fars = [yield* listening.accept, yield* listening.accept]

      Assert.strictEqual(fars.length, 2)
    })
  ),

  Suite.test(
    "reports that a port is in use",
    Effect.gen(function* () {
      const listener = yield* Listener
      const { address } = yield* listener.listen({ host, port: 0 })

      const error = yield* Effect.flip(listener.listen({ host, port: address.port }))

      Assert.strictEqual(error.message, `port ${address.port} is in use`)
    })
  ),

  Suite.test(
    "frees the port with its scope, closes what was not accepted, and keeps what was",
    Effect.gen(function* () {
      const dialer = yield* Dialer
      const listener = yield* Listener
      const scope = yield* Scope.make()
      const listening = yield* Scope.provide(listener.listen({ host, port: 0 }), scope)
      const near = yield* dialer.connect(listening.address)
      const far = yield* listening.accept
      const unaccepted = yield* dialer.connect(listening.address)
      unaccepted.receiveUnsafe(() => true)
      const atFar = collector()
      far.receiveUnsafe(atFar.sink)
      yield* settle

      yield* Scope.close(scope, Exit.void)
      yield* unaccepted.closed
      near.writeUnsafe(pattern(10))
      yield* atFar.until(10)
      yield* listener.listen({ host, port: listening.address.port })
      const late = yield* Effect.exit(Effect.forkChild(listening.accept).pipe(Effect.flatMap(Fiber.await)))

      Assert.isTrue(Exit.isSuccess(late) && Exit.isFailure(late.value) && Exit.hasInterrupts(late.value))
    })
  ),

  Suite.test(
    "carries 200 connections, and leaves no handle when they close",
    Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const dialer = yield* Dialer
        const listening = yield* (yield* Listener).listen({ host, port: 0, backlog: 200 })
        const nears = yield* Effect.forEach(Array.from({ length: 200 }), () => dialer.connect(listening.address), {
          concurrency: 50
        })
        const fars = yield* Effect.forEach(nears, () => listening.accept)
        const sinks = fars.map(() => collector())
        fars.forEach((far, index) => {
          far.receiveUnsafe(sinks[index]!.sink)
        })

        for (const near of nears) near.writeUnsafe(pattern(20_000, near.remote.port))
        yield* Effect.forEach(sinks, (sink) => sink.until(20_000))

        const sent = pattern(20_000, listening.address.port)
        for (const sink of sinks) assertSame(sink.chunks, [sent])
      }).pipe(Effect.scoped)

      yield* eventually(Effect.map(handles, (now) => now === 0))
    })
  )
]
