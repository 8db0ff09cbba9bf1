/** The order of questions: those about one image one after the other, images in the order they became known. */

/** Holds questions that are known and not yet begun; `take` stays with an image for as long as there are questions about it. */
export class Agenda<T> {
  readonly #byImage = new Map<string, T[]>();
  #current: string | undefined;
  #size = 0;

  /** Questions not yet taken. */
  get size(): number {
    return this.#size;
  }

  add(image: string, question: T): void {
    const questions = this.#byImage.get(image);
    if (questions === undefined) this.#byImage.set(image, [question]);
    else questions.push(question);
    this.#size++;
  }

  /** The next question, or undefined when none is known. */
  take(): T | undefined {
    if (this.#current === undefined || !this.#byImage.has(this.#current))
      this.#current = this.#byImage.keys().next().value;
    if (this.#current === undefined) return undefined;
    const questions = this.#byImage.get(this.#current) ?? [];
    const question = questions.shift();
    if (questions.length === 0) this.#byImage.delete(this.#current);
    this.#size--;
    return question;
  }
}
