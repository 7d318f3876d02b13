/**
 * Properties of Effect programs, checked with fast-check.
 *
 * Every run builds the layer anew, in a scope of its own that is closed, finalizers and all, before the next run
 * begins; so do the runs that shrink a counterexample. A run fails if its effect returns `false`, fails, dies or is
 * interrupted, or if its layer cannot be built. `fc.pre(...)` skips a run as usual. Interrupting the check interrupts
 * the run under way and waits for its finalizers.
 *
 * A failure reports the seed and path that repeat it. Pass them by `Settings`: with `layerSettings`, or by setting
 * `PIECEWISE_SEED`, `PIECEWISE_PATH` and `PIECEWISE_RUNS` for the test runner.
 */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"

/** Runs of a property by default: fast-check's own number. */
export const defaultRuns = 100

/** How properties are run. Settings override the options of a single property. */
export interface PropertySettings {
  /** The generator's seed: an integer of 32 bits. Without one each check has another seed. */
  readonly seed?: number | undefined
  /** The counterexample to begin with, as in a report. Valid only with its seed and property. */
  readonly path?: string | undefined
  /** Runs of each property: more find more, and take longer. */
  readonly runs?: number | undefined
}

/** How the properties of a program are run. If it is not provided, the environment is read (see `layerFromEnv`). */
export const Settings = Context.Reference<PropertySettings | undefined>("piecewise/testing/Property/Settings", {
  defaultValue: () => undefined
})

/** Runs properties with these settings, without reading the environment. */
export const layerSettings = (settings: PropertySettings): Layer.Layer<never> => Layer.succeed(Settings, settings)

const configured: Config.Config<PropertySettings> = Config.all({
  seed: Config.Int("PIECEWISE_SEED").pipe(Config.withDefault(undefined)),
  path: Config.NonEmptyString("PIECEWISE_PATH").pipe(Config.withDefault(undefined)),
  runs: Config.Int("PIECEWISE_RUNS").pipe(Config.withDefault(undefined))
})

/**
 * Settings from `PIECEWISE_SEED`, `PIECEWISE_PATH` and `PIECEWISE_RUNS` of the `ConfigProvider`, read once. Fails if
 * one of them is invalid. A check without settings reads them by itself, and dies of an invalid one.
 */
export const layerFromEnv: Layer.Layer<never, Config.ConfigError> = Layer.effect(Settings, configured)

/** A property does not hold. `message` is fast-check's report: counterexample, seed, path, and what went wrong. */
export class PropertyFailed extends Data.TaggedError("piecewise/PropertyFailed")<{
  readonly report: string
  readonly seed: number
  /** `undefined` if there is no counterexample, because too many runs were skipped. */
  readonly path: string | undefined
  /** The smallest counterexample found; for `commands`, the commands. `undefined` as `path` is. */
  readonly counterexample: unknown
  /** What the smallest counterexample failed with. */
  readonly cause: unknown
}> {
  override get message() {
    return this.report
  }
}

/** Options of a check, all optional. */
export interface Options<ROut = never, E = never, RIn = never> extends PropertySettings {
  /** Services of the property, built anew for each run. */
  readonly layer?: Layer.Layer<ROut, E, RIn> | undefined
  /**
   * Runs each property, its layer included, with a `TestClock` of its own that starts at 0. Default: the caller's
   * clock.
   */
  readonly testClock?: boolean | undefined
}

/** Options of `check`. */
export interface CheckOptions<A, ROut = never, E = never, RIn = never> extends Options<ROut, E, RIn> {
  /** Values that are tried before random ones, such as those that once broke the program. */
  readonly examples?: ReadonlyArray<A> | undefined
}

/** The error of a failed run, as fast-check reports it. For a skipped run, the error it was skipped with. */
const errorOf = (cause: Cause.Cause<unknown>): unknown => {
  const skipped = cause.reasons.find(
    (reason) => Cause.isDieReason(reason) && fc.PreconditionFailure.isFailure(reason.defect)
  )
  if (skipped !== undefined && Cause.isDieReason(skipped)) return skipped.defect
  if (Cause.hasInterruptsOnly(cause)) return new Error("the run was interrupted")
  const error = Cause.squash(cause)
  return cause.reasons.length === 1 && error instanceof Error ? error : new Error(Cause.pretty(cause), { cause })
}

const oneRun = <B, E, R, ROut, E2, RIn>(effect: Effect.Effect<B, E, R>, options: Options<ROut, E2, RIn>) => {
  // Local: a layer that the caller has already built must not be shared with a run.
  const provided = options.layer === undefined ? effect : Effect.provide(effect, options.layer, { local: true })
  const scoped = Effect.scoped(provided as Effect.Effect<B, E | E2, Exclude<R, ROut> | RIn>)
  return options.testClock === true ? Effect.provide(scoped, TestClock.layer(), { local: true }) : scoped
}

/** Lets fast-check drive `runs`, one at a time, each in a fiber that ends with the caller. */
const drive = <A, E, R>(
  arbitrary: fc.Arbitrary<A>,
  run: (value: A) => Effect.Effect<unknown, E, R>,
  parameters: fc.Parameters<[A]>
) =>
  Effect.flatMap(Effect.context<R>(), (context) => {
    const fork = Effect.runForkWith(context)
    return Effect.callback<fc.RunDetails<[A]>>((resume) => {
      let current: Fiber.Fiber<unknown, E> | undefined
      let stopped = false

      const property = fc.asyncProperty(arbitrary, async (value) => {
        // fast-check cannot be stopped between runs: the remaining ones pass without being run.
        if (stopped) return
        current = fork(Effect.suspend(() => run(value)))
        // The run may have woken the fiber that stops us before `fork` returned.
        if (stopped) current.interruptUnsafe()
        const exit = await new Promise<Exit.Exit<unknown, E>>((resolve) => current!.addObserver(resolve))
        if (stopped) return
        if (Exit.isFailure(exit)) throw errorOf(exit.cause)
        if (exit.value === false) throw new Error("the property gave false")
      })
      const finished = Promise.resolve()
        .then(() => fc.check(property, parameters))
        .then(
          (details) => resume(Effect.succeed(details)),
          (cause) => resume(Effect.die(cause))
        )

      return Effect.suspend(() => {
        stopped = true
        current?.interruptUnsafe()
        return Effect.promise(() => finished)
      })
    })
  })

const describe = (error: unknown) => (error instanceof Error ? `${error.name}: ${error.message}` : String(error))

const checkWith = <A, E, R>(
  arbitrary: fc.Arbitrary<A>,
  run: (value: A) => Effect.Effect<unknown, E, R>,
  options: PropertySettings,
  more: fc.Parameters<[A]>,
  replayed: (details: fc.RunDetails<[A]>) => string
) =>
  Effect.gen(function* () {
    const settings = (yield* Settings) ?? (yield* Effect.orDie(configured))
    const seed = settings.seed ?? options.seed
    const path = settings.path ?? options.path
    const details = yield* drive(arbitrary, run, {
      ...more,
      numRuns: settings.runs ?? options.runs ?? defaultRuns,
      ...(seed === undefined ? {} : { seed }),
      ...(path === undefined ? {} : { path })
    })
    if (!details.failed) return

    const report = (yield* Effect.promise(() => fc.asyncDefaultReportMessage(details))) ?? "Property failed"
    const error = details.errorInstance ?? undefined
    // Its hints mention options of fast-check's own runner.
    const lines = [report.split("\n\nHint")[0]]
    if (error !== undefined) lines.push(describe(error))
    lines.push(`Replay with ${replayed(details)}`)
    return yield* new PropertyFailed({
      report: lines.join("\n\n"),
      seed: details.seed,
      path: details.counterexamplePath ?? undefined,
      counterexample: details.counterexample?.[0],
      cause: error
    })
  })

/**
 * Checks that `property` holds for the values of `arbitrary`: that its effect succeeds with anything but `false`. Fails
 * with `PropertyFailed`, whose message is the report.
 *
 * The effect is the same for every runner: a test of `@effect/vitest`, or `Effect.runPromise`.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import * as fc from "fast-check"
 * import { Property } from "piecewise/testing/property"
 *
 * const ascends = (numbers: ReadonlyArray<number>) =>
 *   numbers.every((number, index) => index === 0 || numbers[index - 1]! <= number)
 *
 * const sorted = Property.check(fc.array(fc.nat()), (numbers) =>
 *   Effect.sync(() => ascends(numbers.toSorted((one, other) => one - other)))
 * )
 * await Effect.runPromise(sorted)
 *
 * // Without a function that compares, numbers are sorted as texts. The report says how to repeat the failure.
 * const failed = Property.check(fc.array(fc.nat()), (numbers) => Effect.sync(() => ascends(numbers.toSorted())))
 * const { message } = await Effect.runPromise(Effect.flip(failed))
 * assert.match(message, /PIECEWISE_SEED=-?\d+ PIECEWISE_PATH=/)
 * ```
 */
export const check = <A, E, R, ROut = never, E2 = never, RIn = never>(
  arbitrary: fc.Arbitrary<A>,
  property: (value: A) => Effect.Effect<boolean, E, R> | Effect.Effect<void, E, R>,
  options: CheckOptions<A, ROut, E2, RIn> = {}
): Effect.Effect<void, PropertyFailed, Exclude<Exclude<R, ROut> | RIn, Scope.Scope>> =>
  checkWith(
    arbitrary,
    (value) =>
      oneRun(
        Effect.suspend(() => property(value)),
        options
      ),
    options,
    { examples: (options.examples ?? []).map((example): [A] => [example]) },
    (details) => `PIECEWISE_SEED=${details.seed} PIECEWISE_PATH=${details.counterexamplePath ?? ""}`
  )

/** A step of a program and of its model. */
export interface Command<Model extends object, E = never, R = never> {
  /** Whether the step makes sense now. Must not change the model. Default: always. */
  readonly check?: ((model: Readonly<Model>) => boolean) | undefined
  /** Runs the step in the program and in the model, and fails or dies if they differ. */
  readonly run: (model: Model) => Effect.Effect<void, E, R>
  /** The step's name in reports: `add(3)`. */
  readonly name: string
}

interface Pending<E, R> {
  effect: Effect.Effect<void, E, R>
}

/** A step in fast-check's form, which records that the step was run, and leaves the effect to the runner. */
class Step<Model extends object, E, R> implements fc.Command<Model, Pending<E, R>> {
  readonly command: Command<Model, E, R>
  constructor(command: Command<Model, E, R>) {
    this.command = command
  }
  check(model: Readonly<Model>) {
    return this.command.check?.(model) ?? true
  }
  run(model: Model, pending: Pending<E, R>) {
    pending.effect = this.command.run(model)
  }
  toString() {
    return this.command.name
  }
}

/** Options of `commands`. */
export interface CommandsOptions<Model extends object, ROut = never, E = never, RIn = never>
  extends Options<ROut, E, RIn> {
  /** The model at the start of a run. */
  readonly model: () => Model
  /** The most commands of a run. Short runs are more frequent. */
  readonly maxCommands?: number | undefined
}

/**
 * Checks a stateful program against a model: runs random sequences of commands on both, and shrinks a sequence that
 * fails to the shortest that still does. The layer is built once a sequence, so its commands share their services.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Context, Effect, Layer } from "effect"
 * import * as fc from "fast-check"
 * import { Bitfield } from "piecewise"
 * import { Property } from "piecewise/testing/property"
 *
 * class Pieces extends Context.Service<Pieces, Bitfield.Bitfield>()("Pieces") {}
 *
 * const add = fc.nat(9).map((piece) => ({
 *   name: `add(${piece})`,
 *   run: (model: Set<number>) =>
 *     Pieces.useSync((pieces) => {
 *       Bitfield.add(pieces, piece)
 *       assert.equal(pieces.count, model.add(piece).size)
 *     })
 * }))
 * const layer = Layer.sync(Pieces, () => Bitfield.make(10))
 * await Effect.runPromise(Property.commands([add], { model: () => new Set<number>(), layer }))
 * ```
 */
export const commands = <Model extends object, E, R, ROut = never, E2 = never, RIn = never>(
  arbitraries: ReadonlyArray<fc.Arbitrary<Command<Model, E, R>>>,
  options: CommandsOptions<Model, ROut, E2, RIn>
): Effect.Effect<void, PropertyFailed, Exclude<Exclude<R, ROut> | RIn, Scope.Scope>> =>
  checkWith(
    fc.commands(
      arbitraries.map((arbitrary) => arbitrary.map((command) => new Step(command))),
      // A path alone does not replay commands (fast-check needs a second one, given where they are generated).
      { disableReplayLog: true, ...(options.maxCommands === undefined ? {} : { maxCommands: options.maxCommands }) }
    ),
    (steps) =>
      oneRun(
        Effect.gen(function* () {
          const model = options.model()
          const pending: Pending<E, R> = { effect: Effect.void }
          for (const step of steps) {
            if (!step.check(model)) continue
            step.run(model, pending)
            yield* pending.effect
          }
        }),
        options
      ),
    options,
    {},
    (details) => `PIECEWISE_SEED=${details.seed}`
  )
