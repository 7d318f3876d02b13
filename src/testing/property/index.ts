/** Properties of programs, and what they draw from. Needs fast-check. */
export * as Arbitraries from "../Arbitraries.ts"
export * as Property from "../Property.ts"
