/**
 * Assertions of the exported suites, without a test runner. Each throws an `Error` that says what was expected; a case
 * turns it into a `SuiteFailure`.
 */

/** Longer values are cut in messages. */
const longestShown = 300

const fail = (why: string, message: string | undefined): never => {
  throw new Error(message === undefined ? why : `${message}: ${why}`)
}

/** A value in a message. */
export const show = (value: unknown): string => {
  const text = draw(value, new Set())
  return text.length > longestShown ? `${text.slice(0, longestShown)}...` : text
}

const draw = (value: unknown, above: ReadonlySet<unknown>): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (typeof value === "bigint") return `${value}n`
  if (typeof value !== "object" || value === null) return String(value)
  if (above.has(value)) return "[circular]"
  const inside = new Set(above).add(value)
  const all = (items: Iterable<unknown>) => Array.from(items, (item) => draw(item, inside)).join(", ")
  if (ArrayBuffer.isView(value)) return `${value.constructor.name} [${Array.from(value as Uint8Array).join(" ")}]`
  if (Array.isArray(value)) return `[${all(value)}]`
  if (value instanceof Map) return `Map [${all(value)}]`
  if (value instanceof Set) return `Set [${all(value)}]`
  if (value instanceof Error) return `${value.name}: ${value.message}`
  return `{ ${Object.entries(value)
    .map(([key, item]) => `${key}: ${draw(item, inside)}`)
    .join(", ")} }`
}

/** Whether two values are equal to the last field: numbers, texts, arrays, bytes, maps, sets, errors and records. */
export const isEqual = (a: unknown, b: unknown): boolean => {
  if (Object.is(a, b)) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false
  if (a instanceof Error && b instanceof Error && (a.name !== b.name || a.message !== b.message)) return false
  if (ArrayBuffer.isView(a) || Array.isArray(a)) {
    const [left, right] = [a as ArrayLike<unknown>, b as ArrayLike<unknown>]
    if (left.length !== right.length) return false
    for (let index = 0; index < left.length; index++) if (!isEqual(left[index], right[index])) return false
    return true
  }
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && [...a].every(([key, value]) => b.has(key) && isEqual(value, b.get(key)))
  }
  if (a instanceof Set && b instanceof Set) return a.size === b.size && [...a].every((value) => b.has(value))
  const [left, right] = [Object.entries(a), b as Readonly<Record<string, unknown>>]
  return (
    left.length === Object.keys(right).length &&
    left.every(([key, value]) => Object.hasOwn(right, key) && isEqual(value, right[key]))
  )
}

/** Fails unless both are the same value. */
export const strictEqual = <A>(actual: A, expected: A, message?: string): void => {
  if (!Object.is(actual, expected)) fail(`expected ${show(expected)}, got ${show(actual)}`, message)
}

/** Fails if both are the same value. */
export const notStrictEqual = (actual: unknown, unexpected: unknown, message?: string): void => {
  if (Object.is(actual, unexpected)) fail(`expected anything except ${show(unexpected)}`, message)
}

/** Fails unless the values are equal (`isEqual`). */
export const deepStrictEqual = <A>(actual: A, expected: A, message?: string): void => {
  if (!isEqual(actual, expected)) fail(`expected ${show(expected)}, got ${show(actual)}`, message)
}

/** Fails if the values are equal (`isEqual`). */
export const notDeepEqual = (actual: unknown, unexpected: unknown, message?: string): void => {
  if (isEqual(actual, unexpected)) fail(`expected anything except ${show(unexpected)}`, message)
}

/** Fails unless the record has these fields with these values. */
export const deepInclude = (actual: object | undefined, expected: object, message?: string): void => {
  const record = (actual ?? {}) as Readonly<Record<string, unknown>>
  for (const [key, value] of Object.entries(expected)) {
    if (!isEqual(record[key], value)) {
      fail(`expected ${key} to be ${show(value)}, got ${show(record[key])} in ${show(actual)}`, message)
    }
  }
}

/** Fails unless the value is `true`. */
export const isTrue = (actual: unknown, message?: string): void => {
  if (actual !== true) fail(`expected true, got ${show(actual)}`, message)
}

/** Fails unless the value is `false`. */
export const isFalse = (actual: unknown, message?: string): void => {
  if (actual !== false) fail(`expected false, got ${show(actual)}`, message)
}

/** Fails unless the value is `undefined`. */
export const isUndefined = (actual: unknown, message?: string): void => {
  if (actual !== undefined) fail(`expected nothing, got ${show(actual)}`, message)
}

/** Fails unless the number is larger than `limit`. */
export const isAbove = (actual: number, limit: number, message?: string): void => {
  if (!(actual > limit)) fail(`expected more than ${limit}, got ${actual}`, message)
}

/** Fails unless the number is at least `limit`. */
export const isAtLeast = (actual: number, limit: number, message?: string): void => {
  if (!(actual >= limit)) fail(`expected at least ${limit}, got ${actual}`, message)
}

/** Fails unless the number is at most `limit`. */
export const isAtMost = (actual: number, limit: number, message?: string): void => {
  if (!(actual <= limit)) fail(`expected at most ${limit}, got ${actual}`, message)
}

/** Fails unless the numbers differ by at most `delta`. */
export const closeTo = (actual: number, expected: number, delta: number, message?: string): void => {
  if (!(Math.abs(actual - expected) <= delta)) fail(`expected ${expected} ± ${delta}, got ${actual}`, message)
}

/** Fails unless the text matches. */
export const match = (actual: string | undefined, pattern: RegExp, message?: string): void => {
  if (actual === undefined || !pattern.test(actual)) fail(`expected ${pattern}, got ${show(actual)}`, message)
}

/** Fails unless the text contains `part`. */
export const include = (actual: string, part: string, message?: string): void => {
  if (!actual.includes(part)) fail(`expected ${show(actual)} to contain ${show(part)}`, message)
}

/** Fails unless `call` throws an error whose message contains `part`. */
export const throws = (call: () => unknown, part: string): void => {
  try {
    call()
  } catch (error) {
    return include(error instanceof Error ? error.message : String(error), part)
  }
  fail(`expected an error with ${show(part)}`, undefined)
}
