/**
 * Boxes over an image. They are drawn in an SVG whose units are the image's own pixels, so they are right at every zoom and nothing is
 * measured.
 */
import type { BoxView, SampleView } from '../server/api.ts';
import { apiAddress } from './requests.ts';

/** Address of a sample's original image. */
export function imageAddress({ dataset, sample_id }: SampleView): string {
  return apiAddress(['images'], { dataset, sample: sample_id });
}

/** What is drawn over the image. */
export type Shown = { predicted: boolean; truth: boolean };

/** The image with its true boxes (dashed) and predicted ones (solid). */
export function BoxedImage(props: { sample: SampleView; boxes: BoxView[]; shown: Shown }) {
  const { sample, boxes, shown } = props;
  return (
    <div class="boxed">
      <img
        src={imageAddress(sample)}
        width={sample.width}
        height={sample.height}
        loading="lazy"
        alt={`Scene of ${sample.sample_id}`}
      />
      <svg viewBox={`0 0 ${sample.width} ${sample.height}`} preserveAspectRatio="none" aria-hidden="true">
        {shown.predicted
          ? boxes.map((box, index) => <Outline key={`p${index}`} box={box} kind="predicted" />)
          : null}
        {shown.truth
          ? sample.boxes.map((box, index) => <Outline key={`t${index}`} box={box} kind="truth" />)
          : null}
      </svg>
    </div>
  );
}

/** A box on a light line, so that it stands out on any ground; the dashes of a true box let a predicted one below it show. */
function Outline({ box: [x1, y1, x2, y2], kind }: { box: BoxView; kind: 'truth' | 'predicted' }) {
  const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
  return (
    <g data-box={kind}>
      <rect {...place} class={`under ${kind}`} />
      <rect {...place} class={kind} />
    </g>
  );
}

/** The regions that were cut out for the reasoner, each a view into the same image. */
export function Crops({ sample, crops }: { sample: SampleView; crops: BoxView[] }) {
  if (crops.length === 0) return null;
  return (
    <ul class="crops" aria-label="Crops that the reasoner saw">
      {crops.map(([x1, y1, x2, y2], index) => (
        <li key={index}>
          <svg viewBox={`${x1} ${y1} ${x2 - x1} ${y2 - y1}`} role="img" aria-label={`Crop ${index + 1}`}>
            <image href={imageAddress(sample)} width={sample.width} height={sample.height} />
          </svg>
        </li>
      ))}
    </ul>
  );
}
