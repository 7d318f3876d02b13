/**
 * Gives mutated inputs to decoders of what strangers send: `Fuzz.test.ts` a few thousand, and `npm run soak -- fuzz` a
 * million to each. A decoder joins as one more `Target` in `targets.ts`.
 *
 * Each input is one of the recorded ones, changed in a few places, or not at all. A fault is an exception that the
 * decoder does not document, an input that takes too long, memory that grows, and a branch that no input has reached:
 * without the last, inputs that are all refused at the first byte would look like a success.
 */
import * as Bytes from "../../src/base/Bytes.ts"
import * as Prng from "../../src/base/Prng.ts"

/** What decoding an input may use. */
export interface Fuzzed {
  /** Cuts bytes into chunks, as a network might. */
  readonly cut: (bytes: Uint8Array) => ReadonlyArray<Uint8Array>
  /** Counts a branch of the decoder that accepts something. */
  readonly visit: (branch: string) => void
}

/** An input that is accepted as it is, and what decodes it and its mutations. */
export interface Seed {
  readonly name: string
  readonly bytes: Uint8Array
  /** Throws what the decoder throws, and an `Error` if the decoder breaks a promise, such as how much it holds. */
  readonly decode: (input: Uint8Array, fuzzed: Fuzzed) => void
}

/** A decoder. */
export interface Target {
  readonly name: string
  readonly seeds: ReadonlyArray<Seed>
  /** The reason in the documented exception of the decoder; `undefined` for every other exception. */
  readonly refusal: (error: unknown) => string | undefined
  /** The branches that must be reached. */
  readonly branches: ReadonlyArray<string>
}

/** How much is tried, and what is allowed. */
export interface Options {
  readonly inputs: number
  /** Of the random numbers. */
  readonly seed: number
  /** How long one input may take; default 100 ms. An input that takes longer is tried again, as the system may be busy. */
  readonly maxMillis?: number
  /** How much the memory of the process may grow over all inputs; default 128 MiB. */
  readonly maxGrowthBytes?: number
  /** Called from time to time with the number of inputs so far. */
  readonly progress?: (inputs: number) => void
}

/** What was found. */
export interface Report {
  readonly inputs: number
  /** Inputs that were accepted to their end, or until more was expected. */
  readonly accepted: number
  /** How often each branch was reached. */
  readonly branches: ReadonlyMap<string, number>
  /** How many inputs were refused, by the reason. */
  readonly refusals: ReadonlyMap<string, number>
  readonly slowestMillis: number
  /** The most by which memory grew, as sampled. */
  readonly growthBytes: number
  /** Sentences, each with its input in hex. */
  readonly faults: ReadonlyArray<string>
}

/** The faults after which the search ends. */
const maxFaults = 10

/** Inputs between two samples of the memory. */
const sampleEvery = 1_000

const count = (counts: Map<string, number>, key: string): void => void counts.set(key, (counts.get(key) ?? 0) + 1)

const memoryNow = (): number => {
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return arrayBuffers + heapUsed
}

/** Numbers at which decoders decide something, as bytes. */
const edges = ["00", "01", "7f", "80", "ff", "0000", "0001", "0200", "0201", "7fff", "8000", "ffff", "00000001"]
  .concat(["00000002", "00000003", "7fffffff", "80000000", "ffffffff"])
  .map((hex) => Bytes.fromHex(hex)!)

const splice = (bytes: Uint8Array, begin: number, removed: number, added: Uint8Array): Uint8Array =>
  Bytes.concat([bytes.subarray(0, begin), added, bytes.subarray(Math.min(bytes.length, begin + removed))])

const overwrite = (bytes: Uint8Array, begin: number, added: Uint8Array): Uint8Array =>
  splice(bytes, begin, added.length, added)

/** Bytes of another input, from any place. */
const partOf = (random: Prng.Prng, other: Uint8Array): Uint8Array => {
  const begin = Prng.integer(random, other.length)
  return other.slice(begin, begin + 1 + Prng.integer(random, 32))
}

type Mutation = (random: Prng.Prng, bytes: Uint8Array, at: number, other: Uint8Array) => Uint8Array

const mutations: ReadonlyArray<Mutation> = [
  (random, bytes, at) => overwrite(bytes, at, Uint8Array.of((bytes[at] ?? 0) ^ (1 << Prng.integer(random, 8)))),
  (random, bytes, at) => overwrite(bytes, at, Uint8Array.of(Prng.integer(random, 256))),
  (random, bytes, at) => overwrite(bytes, at, edges[Prng.integer(random, edges.length)]!),
  (random, bytes, at) => splice(bytes, at, 0, edges[Prng.integer(random, edges.length)]!),
  (random, bytes, at) => splice(bytes, at, 0, Prng.bytesOf(random)(1 + Prng.integer(random, 40))),
  (random, bytes, at) => splice(bytes, at, 1 + Prng.integer(random, 40), new Uint8Array(0)),
  (random, bytes, at, other) => splice(bytes, at, 0, partOf(random, other)),
  (random, bytes, at, other) => overwrite(bytes, at, partOf(random, other)),
  (_, bytes, at) => bytes.slice(0, at),
  (random, bytes, at) => splice(bytes, at, 0, new Uint8Array(Prng.integer(random, 70_000)))
]

/** The long mutation is rare, as it is slow. */
const mutationOf = (random: Prng.Prng): Mutation =>
  mutations[Prng.integer(random, 200) === 0 ? mutations.length - 1 : Prng.integer(random, mutations.length - 1)]!

/** Up to four changes, half of all times only one; none in each eighth input. */
const mutate = (random: Prng.Prng, seed: Uint8Array, other: Uint8Array): Uint8Array => {
  let bytes = seed
  const changes = Prng.integer(random, 8) === 0 ? 0 : 1 + Math.floor(4 * random() * random())
  for (let change = 0; change < changes; change++) {
    bytes = mutationOf(random)(random, bytes, Prng.integer(random, bytes.length + 1), other)
  }
  return bytes
}

/** Whole, byte by byte, or at a few places. Chunks are copies, as the memory of a read buffer is. */
const cutter = (random: Prng.Prng) => {
  const kind = Prng.integer(random, 16)
  return (bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
    if (kind < 6) return [bytes.slice()]
    const places = Array.from({ length: Prng.integer(random, 6) }, () => Prng.integer(random, bytes.length + 1))
    const ends =
      kind === 6 && bytes.length < 4_096
        ? Array.from(bytes, (_, at) => at + 1)
        : [...places.sort((one, other) => one - other), bytes.length]
    return ends.map((end, index) => bytes.slice(ends[index - 1] ?? 0, end))
  }
}

/** Tries so many inputs. The same options lead to the same inputs. */
export const run = (target: Target, options: Options): Report => {
  const { inputs, maxGrowthBytes = 134_217_728, maxMillis = 100, progress = () => {} } = options
  const random = Prng.make(options.seed)
  const branches = new Map<string, number>(target.branches.map((branch) => [branch, 0]))
  const refusals = new Map<string, number>()
  const faults: Array<string> = []
  const before = memoryNow()
  let [accepted, growthBytes, slowestMillis, done] = [0, 0, 0, 0]

  for (; done < inputs && faults.length < maxFaults; done++) {
    const seed = target.seeds[done % target.seeds.length]!
    const other = target.seeds[Prng.integer(random, target.seeds.length)]!
    const input = done < target.seeds.length ? seed.bytes : mutate(random, seed.bytes, other.bytes)
    const inputHex = () => `${target.name}, ${seed.name}, ${Bytes.toHex(input)}`
    const cutting = Prng.integer(random, 2 ** 31)
    const decode = (visit: (branch: string) => void): unknown => {
      try {
        seed.decode(input, { cut: cutter(Prng.make(cutting)), visit })
        return undefined
      } catch (error) {
        return error
      }
    }
    const timed = (visit: (branch: string) => void): readonly [millis: number, error: unknown] => {
      const begin = performance.now()
      const error = decode(visit)
      return [performance.now() - begin, error]
    }

    const [first, error] = timed((branch) => count(branches, branch))
    const millis = first < maxMillis ? first : Math.min(...[1, 2, 3].map(() => timed(() => {})[0]))
    slowestMillis = Math.max(slowestMillis, millis)
    if (millis >= maxMillis) faults.push(`it takes ${Math.round(millis)} ms: ${inputHex()}`)
    const refusal = error === undefined ? undefined : target.refusal(error)
    if (error === undefined) accepted++
    else if (refusal !== undefined) count(refusals, refusal)
    else faults.push(`${error instanceof Error ? error.stack : String(error)}: ${inputHex()}`)
    if (done % sampleEvery === 0) {
      growthBytes = Math.max(growthBytes, memoryNow() - before)
      progress(done)
    }
  }
  if (growthBytes > maxGrowthBytes) faults.push(`${target.name}: memory grew by ${growthBytes} bytes`)
  const missed = [...branches].flatMap(([branch, times]) => (times === 0 ? [branch] : []))
  if (missed.length > 0) faults.push(`${target.name}: no input has reached ${missed.join("; ")}`)
  return { inputs: done, accepted, branches, refusals, slowestMillis, growthBytes, faults }
}

const table = (counts: ReadonlyMap<string, number>): ReadonlyArray<string> =>
  [...counts].map(([name, times]) => `  ${String(times).padStart(9)}  ${name}`)

/** The report as text. */
export const describe = (target: Target, report: Report): string =>
  [
    `${target.name}: ${report.inputs} inputs of ${target.seeds.length} seeds, ${report.accepted} without a refusal`,
    "  branches that were reached:",
    ...table(report.branches),
    "  refusals:",
    ...table(report.refusals),
    `  slowest ${report.slowestMillis.toFixed(1)} ms; memory grew by ${(report.growthBytes / 2 ** 20).toFixed(1)} MiB`
  ].join("\n")
