export * as Bitfield from "./base/Bitfield.ts"
export * as PieceGeometry from "./base/PieceGeometry.ts"
