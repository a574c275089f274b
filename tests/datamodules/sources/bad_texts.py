"""Bad words and numbers in the annotations of each layout: source, damage, words of the refusal."""

from collections.abc import Iterator, Mapping, Sequence

from tests.datamodules.sources.bad_files import Case
from tests.datamodules.sources.damage import cut, drop, edit, link, put

LAUGHS = b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><annotation>&b;</annotation>'
DEEP = b"[" * 100_000
CELL = "images/cell0001.png  1.0                 mono"
RUNS, ROW = "211 10 251 10", "0002cc93b.jpg,1,"
BOX, RLE = '"bbox": [5, 10, 15.5, 10]', "[410, 10, 1580]"
SQUARE, CORNERS = "[5, 10, 20, 10, 20, 20, 5, 20]", "[[5, 10], [20, 10], [20, 20], [5, 20]]"
TABLE_BOX = ",5,10,15.5,10"
LONG = "x" * 300
# File -> what is put there, and words of the refusal.
Contents = Mapping[tuple[str, str], Sequence[tuple[bytes, str]]]
CONTENTS: Contents = {
    ("neu_det", "ANNOTATIONS/crazing_1.xml"): (
        (b"", "no readable XML"),
        (b"<annotation><object>", "no readable XML"),
        (LAUGHS, "holds a DOCTYPE or ENTITY"),
        (b"<html></html>", "is <html>, expected <annotation>"),
        (b"<annotation>\xff\xfe</annotation>", "not UTF-8"),
        (b"<annotation/>", "has no box"),
    ),
    ("deeppcb", "PCBData/group00041/00041_not/00041000.txt"): (
        (b"", "holds no box"),
        (b"5 10 20 1", "expected x1 y1 x2 y2 and a type"),
        (b"5 10 20 20 1 7", "expected x1 y1 x2 y2 and a type"),
        (b"5 10 20 20 open", "expected x1 y1 x2 y2 and a type"),
        (b"5 10 20 20 9", "a type from 1 to 6"),
        (b"-50 10 20 20 1", "outside its image"),
        (b"20 20 5 10 1", "expected a positive size"),
        (b"nan 10 20 20 1", "not finite"),
        (b"\xff\xfe\x00 1 2", "not UTF-8"),
    ),
    ("elpv", "labels.csv"): ((b"\xff\xfe", "not UTF-8"), (b"\n", "is empty")),
    ("severstal", "train.csv"): (
        (b"a,b\n1,2\n", "expected UTF-8 CSV with ImageId, ClassId"),
        (b"\xff\xfe\x00", "not readable"),
        (b'ImageId,"\x00', "not readable"),
    ),
    ("dagm", "Class1/Train/Label/Labels.txt"): (
        (b"", "has no line in Labels.txt"),
        (b"1\n576 yes 0576.PNG\n", "line 2 is '576 yes"),
    ),
    ("real_iad", "realiad_jsons/realiad_jsons/bottle_cap.json"): (
        (b"", "no readable JSON"),
        (b"[]", "holds a JSON list"),
        (b'{"train": 3, "test": []}', "lacks a list"),
        (b'{"train": [1], "test": []}', "an entry without image_path"),
        (DEEP, "no readable JSON"),
    ),
    ("visa", "split_csv/1cls.csv"): (
        (b"object,label\ncandle,normal\n", "has no column 'split'"),
        (b"object,split,label,image,mask\n", "expected rows in 1cls.csv"),
        (b"object,split,label,image,mask\n\xff,,,,\n", "not readable"),
    ),
    ("visa", "candle/image_anno.csv"): ((b"a,b\n", "has no column 'image'"),),
    ("wm811k", "wm811k.parquet"): ((b"PAR1", "is not readable"), (b"", "is not readable")),
    ("merged", "tiles/manifest.parquet"): (
        (b"", "not a readable Parquet manifest"),
        (b"PAR1" * 2, "not a readable Parquet manifest"),
    ),
    ("coco", "annotations/instances_train.json"): (
        (b"", "no readable JSON"),
        (b"[]", "holds a JSON list"),
        (DEEP, "no readable JSON"),
        (b'{"images": "\xff"}', "not UTF-8"),
        (b'{"images": [], "annotations": []}', "expected COCO instances"),
        (b'{"a": ' + b"9" * 5000 + b"}", "no readable JSON"),
    ),
    ("labelme", "train/a b.json"): (
        (b"", "no readable JSON"),
        (b"[]", "holds a JSON list"),
        (b'{"x": 1}', "has no shapes"),
        (b'{"shapes": 3}', "expected a list of objects"),
    ),
    ("yolo", "labels/train/a b.txt"): (
        (b"0 0.25 0.375 0.3 0.25 0.5", "got 5 numbers behind the class"),
        (b"0 0.5 0.5 0.1 0.1\n\n0 1\n", "line 3: got 1 numbers"),
        (b"1 0.1 0.25 0.3 0.25 0.3 0.4 0.1", "got 7 numbers"),
        (b"0 nan 0.375 0.3 0.25", "got nan, expected numbers relative"),
        (b"0 25 37 30 25", "got 37, expected numbers relative"),
        (b"0 0.25 0.375 -0.3 0.25", "expected a positive size"),
        (b"0 0.99 0.5 0.5 0.5", "outside its image"),
        (b"9 0.25 0.375 0.3 0.25", "class 9 is unknown, expected 0=Pin-Hole, 1=crack"),
        (b"0.5 0.25 0.375 0.3 0.25", "class 0.5 is unknown"),
        (b"9" * 5000 + b" 0.1 0.1 0.1 0.1", "is unknown"),
        (b"crack 0.25 0.375 0.3 0.25", "expected numbers"),
        (b"0,0.25,0.375,0.3,0.25", "expected numbers"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ),
    ("yolo", "data.yaml"): (
        (b"", "holds no keys"),
        (b"- a", "holds no keys"),
        (b"names: [a", "no readable YAML"),
        (b"names: !!python/object/apply:os.system ['true']", "no readable YAML"),
        (b"names: " + b"[" * 3000, "no readable YAML"),
        (b"train: images/train", "has no names"),
        (b"names: [a, '']", "expected class numbers from 0 with names"),
        (b"names: [a, '-']", "expected class numbers from 0 with names"),
        (b"names: {0.5: a}", "expected class numbers from 0"),
        (b"names: [a]\nkpt_shape: [17, 3]", "labels are poses"),
        (b"names: [a]\ntrain: 5", "expected paths below it"),
        (b"names: [a]\ntrain: ../../../../etc", "expected paths below it"),
        (b"names: [a]\ntrain: gone.txt", "expected paths below it"),
        (b"names: [a]\ntrain: images/train\nval: images/train", "is in the splits train and val"),
    ),
    ("csv", "records.csv"): (
        (b"", "expected image, and each once"),
        (bytes(80), "expected image, and each once"),
        (b"image,image\na.png,a.png\n", "expected image, and each once"),
        (b"image,type\n", "has no rows"),
        (b"image,captoin\ngood.bmp,x\n", "unknown column 'captoin': expected caption"),
        (b"image,type\ngood.bmp,H\xf6hle\n", "not UTF-8"),
        (b'image,type\ngood.bmp,"' + b"x" * 200_000 + b'"\n', "no readable CSV"),
        (b"image,type,group\ngood.bmp,a,b7\ngood.bmp,b,b8\n", "an earlier row says 'b7'"),
        (b"image,type\ngood.bmp,a\n./good.bmp,b\n", "under two spellings"),
    ),
    ("folder", "labels.csv"): (
        (b"", "expected image, and each once"),
        (b"image,type,mask\ncrack/a.png,crack,a\n", "unknown column 'mask'"),
        (b"image,type\ncrack/zzz.png,crack\n", "'crack/zzz.png' is not there"),
        (b"image,type\n../../a.png,crack\n", "is not there"),
        (b"image,type\ncrack/a.png,\n", "has no or several types"),
        (b"image,type\ncrack/a.png,crack\ncrack/a.png,dent\n", "has no or several types"),
        (b"image,type\ncrack/a.png,cr\x07ack\n", "unprintable characters"),
        (b"image,type\n\xff,crack\n", "not UTF-8"),
    ),
    ("generated", "generated.jsonl"): (
        (b'{"image": "a.p', "line 1 is no readable JSON"),
        (b"[]", "holds a JSON list"),
        (b"", "has no line"),
    ),
}
# File -> old words, new words, words of the refusal.
EDITS: Mapping[tuple[str, str], Sequence[tuple[str, str, str]]] = {
    ("neu_det", "ANNOTATIONS/crazing_1.xml"): (
        ("<xmax>50<", "<xmax>nan<", "not finite"),
        ("<xmax>50<", "<xmax>fifty<", "expected four numbers"),
        ("<xmax>50</xmax>", "", "expected four numbers"),
        ("<xmax>50<", "<xmax>0<", "expected a positive size"),
        ("<xmax>50<", "<xmax>500<", "outside its image"),
        ("<name>crazing<", "<name>rust<", "is a 'rust', expected one of crazing"),
    ),
    ("elpv", "labels.csv"): (
        (CELL, "images/cell0001.png mono", "expected path, probability and cell type"),
        (CELL, "images/cell0001.png nan mono", "expected 0 to 1"),
        (CELL, "images/cell0001.png 1.5 mono", "expected 0 to 1"),
        (CELL, "images/cell0001.png 1.0 amorphous", "expected 0 to 1 and mono or poly"),
        (CELL, "images/cell0004.png 0.0 mono", "stands there twice"),
        (CELL, "images/cell7777.png 1.0 mono", "is missing"),
        (CELL, "../cell0001.png 1.0 mono", "leads out of the data root"),
        (CELL, "/etc/passwd 1.0 mono", "leads out of the data root"),
        (CELL, "images/\0.png 1.0 mono", "unprintable characters"),
        (CELL, f"images/{LONG}.png 1.0 mono", LONG[:99]),
    ),
    ("severstal", "train.csv"): (
        (RUNS, "211 10 251", "expected pairs of start and length"),
        (RUNS, "211 -10", "expected pairs of start and length"),
        (RUNS, "211.5 10", "expected pairs of start and length"),
        (RUNS, "0 10", "starts at 0, expected 1 or more"),
        (RUNS, "1995 100", "with 2000 pixels"),
        (RUNS, "211 10 215 10", "expected ascending whole runs"),
        (RUNS, f"{10**30} 1", "with 2000 pixels"),
        (ROW, "0002cc93b.jpg,7,", "ClassId is '7'"),
        (ROW, "nowhere.jpg,1,", "nowhere.jpg is missing"),
        (ROW, "../x.jpg,1,", "leads out of the data root"),
    ),
    ("dagm", "Class1/Train/Label/Labels.txt"): (
        ("577\t1", "577\tx", "expected number, 0 or 1, image"),
        ("0577.PNG\t0", "9999.PNG\t0", "has no line in Labels.txt"),
        ("\t0\t0576", "\t1\t0576", "defective by Labels.txt but has no label file"),
        ("577\t1", "577\t0", "good by Labels.txt but has a label file"),
    ),
    ("real_iad", "realiad_jsons/realiad_jsons/bottle_cap.json"): (
        ('"AK"', '"XX"', "anomaly_class 'XX'"),
        ("OK/S0001/", "../../../", "leads out of the data root"),
        ("OK/S0001/", "OK/\\u0000/", "unprintable characters"),
        ("OK/S0001/", "\\ud800/", "unprintable characters"),
        ('"image_path"', '"picture"', "an entry without image_path"),
    ),
    ("visa", "split_csv/1cls.csv"): (
        ("candle,train", "spoon,train", "object 'spoon' is unknown"),
        ("candle,train", "candle,later", "split 'later'"),
        (",normal,", ",fine,", "label 'fine'"),
        ("candle/Data/Images/Normal/0000", "../../0000", "leads out of the data root"),
        ("candle/Data/Images/Normal/0000", "candle/\a", "unprintable characters"),
        ("Masks/Anomaly/000.png", "Masks/Anomaly/777.png", "is missing"),
        ("Normal/0001", "Normal/0000", "expected once"),
    ),
    ("visa", "candle/image_anno.csv"): (
        ("different colour spot", "unicorn", "type 'unicorn'"),
        ("Anomaly/000.JPG", "Anomaly/777.JPG", "has no label in candle/image_anno.csv"),
    ),
    ("coco", "annotations/instances_train.json"): (
        (BOX, '"bbox": [NaN, 10, 15, 10]', "not finite"),
        (BOX, '"bbox": [5, 10, -15, 10]', "expected a positive size"),
        (BOX, '"bbox": [500, 10, 15, 10]', "outside its image"),
        (BOX, '"bbox": [5, 10, 15]', "has 3 numbers"),
        (BOX, '"bbox": ["a", "b", "c", "d"]', "expected a list of numbers"),
        ("15.5", "9" * 400, "beyond all images"),
        (SQUARE, "[5, 10, 20, 10]", "expected x and y of three or more corners"),
        (SQUARE, "[5, 10, 20, 10, 20, 20, 5]", "expected x and y of three or more corners"),
        (SQUARE, "[5, 10, 2000, 10, 20, 20]", "outside its image"),
        (RLE, "[410, 10, 80]", "RLE of CVAT or Label Studio"),
        (RLE, "[410, -10, 1600]", "expected whole numbers from 0 on"),
        (RLE, "[410, NaN, 1580]", "expected whole numbers from 0 on"),
        (RLE, '["a"]', "expected a list of numbers"),
        (RLE, '"410"', "run lengths"),
        *(
            ('"j<:\\\\a1"', f'"{letters}"', "expected COCO's compressed string")
            for letters in ("~~~~", "5 4", "b6o", "o" * 40)
        ),
        ('"size": [40, 50]', '"size": [50, 40]', "expected its 50 x 40 px"),
        ("[40, 50], ", "[-40, -50], ", "expected [height, width]"),
        ('"category_id": 9', '"category_id": 77', "is of category 77, expected 3=Pin-Hole"),
        ('"image_id": 3', '"image_id": 33', "is of image 33, which is not in images"),
        ('"name": "Pin-Hole"', '"name": ""', "category without id or name"),
        ('"id": 9, "name": "crack"', '"id": 3, "name": "crack"', "expected one name per id"),
        ("Pin-Hole", "Pin\\u0007", "unprintable characters"),
        ('"c.bmp"', '"../../../outside.png"', "leads out of the data root"),
        ('"c.bmp"', '"C:\\\\gone.bmp"', "expected one below the data root"),
        ('"c.bmp"', '"zzz.bmp"', "is missing"),
        ('"c.bmp"', '""', "has no id or file_name"),
        ('"width": 50', '"width": 5', "expected its 5 x 40 px"),
        ('"id": 2', '"id": 1', "two images with id 1"),
        ('"id": 3, "image_id"', '"id": 2, "image_id"', "has the id of another one"),
        ('"annotations": [', '"annotations": ["a", ', "expected a list of objects"),
    ),
    ("labelme", "train/a b.json"): (
        ('"polygon"', '"line"', "is a line, which has no area"),
        (CORNERS, "[[5, 10]]", "three or more corners"),
        (CORNERS, "[[NaN, 1], [2, 3], [4, 5]]", "not finite"),
        (CORNERS, "[[5, 10], [2000, 10], [20, 20]]", "outside its image"),
        (CORNERS, '[["a", "b"], [1, 2], [3, 4]]', "expected a list of numbers"),
        (CORNERS, "[[1, 2, 3], [4, 5, 6], [7, 8, 9]]", "has not two numbers"),
        (CORNERS, "null", "has no points"),
        ('"Pin-Hole"', '""', "expected the type of the defect"),
        ("Pin-Hole", "Pin\\u0007", "unprintable characters"),
        ('"a b.JPG"', '"../../../outside.png"', "leads out of the data root"),
        ('"a b.JPG"', '"c.png"', "has a second JSON"),
        ('"imageWidth": 50', '"imageWidth": 5', "expected one size"),
        ('"imageHeight": 40', '"imageHeight": 50', "expected one size"),
    ),
    ("labelme", "train/c.json"): (
        ("[30, 20]", "[25, 20]", "radius 0"),
        ('"mask": "', '"mask": "!!!', "mask is unusable"),
        ('"mask": "iVBORw0K', '"mask": "', "mask is unusable"),
        ("[[6, 7], [9, 9]]", "[[49, 39], [52, 41]]", "leaves the image"),
    ),
    ("csv", "records.csv"): (
        (TABLE_BOX, ",5,10,,", "expected four numbers"),
        (TABLE_BOX, ",a,b,c,d", "expected four numbers"),
        (TABLE_BOX, ",nan,10,15.5,10", "expected finite numbers"),
        (TABLE_BOX, ",5,10,-15.5,10", "a positive size"),
        (TABLE_BOX, ",5,10,1500,10", "outside its image"),
        ("good.bmp,", "../../good.bmp,", "leads out of the data root"),
        ("good.bmp,", "/etc/passwd,", "is no relative path"),
        ("new.tif", "", "is no relative path"),
        ("new.tif", "zzz.tif", "image 'zzz.tif' is missing"),
        ("masks/good.png", "masks/zzz.png", "mask 'masks/zzz.png' is missing"),
        (",train,", ",learn,", "split is 'learn', expected train"),
        (",test,", ",unlabelled,", "is unlabelled and has a label"),
        ("new.tif,", "new.tif,,,,,", "more cells than the header"),
        ("shots/ü.png,,dent", "shots/ü.png,masks/a.png,dent", "has a mask and boxes"),
        ("shots/ü.png,,dent", "shots/ü.png,,good", "expected one defect"),
        ("two.png,,crack;dent", "two.png,,crack;good", "is good and has crack"),
        ("two.png,,crack", "two.png,masks/a.png,crack", "which grey is which"),
        ("masks/good.png,good", "masks/a.png,good", "the image is good, but its mask"),
    ),
    ("generated", "generated.jsonl"): (
        ("images/000000.png", "images/none.png", "not a readable image"),
        ("images/000000.png", "../outside.png", "leads out of the data root"),
        ('"defect": "crack", "prompt"', '"defect": 7, "prompt"', "defect is 7, expected a text"),
        ('"defect": "crack", "prompt"', '"defect": "good", "prompt"', "has a mask and the defect"),
        ('"cause": ""', '"because": ""', "expected null or cause, defect"),
        ('"abababab', '"efefefef', "was generated by checkpoint abababababab"),
    ),
    ("imdd1m_release", "5-10MT_tiles/5-10MT_Tiles.csv"): (
        ("Image Name,label", "File,Id", "Image Name"),
        (",Description", "", "escription"),
        ("001.jpg,5,", "001.jpg,five,", "five"),
        ('"tiles,good"', '""', "has no category: fill"),
        ("mt3_free_001.jpg", "mt3_blowhole_001.jpg", "remove one row"),
        ("tiles,blowhole", "tiles,blow\ahole", "unprintable characters"),
    ),
}


def texts() -> Iterator[Case]:
    """All of the tables, files that are gone, cut or links, and a list with odd paths."""
    for (source, path), contents in CONTENTS.items():
        yield from ((source, put(path, content), words) for content, words in contents)
    for (source, path), edits in EDITS.items():
        yield from ((source, edit(path, old, new), words) for old, new, words in edits)
    yield "deeppcb", drop("PCBData/group00041/00041_not/00041000.txt"), "cannot be read"
    yield "dagm", drop("Class10/Test/Label/Labels.txt"), "Labels.txt is missing"
    yield "visa", drop("candle/image_anno.csv"), "image_anno.csv"
    yield "pv_multi_defect", drop("JPEGImages/img5.jpg"), "img5.jpg is missing"
    yield "pv_multi_defect", put("Annotations/img5.xml", b"<annotation>"), "no readable XML"
    yield "neu_det", drop("ANNOTATIONS/crazing_1.xml"), "has no box"
    yield "yolo", drop("data.yaml"), "holds no data.yaml"
    yield "yolo", link("labels/train/a b.txt", "../../../outside.png"), "is a symbolic link"
    yield "yolo", cut("images/train/a b.JPG", 0.3), "is not a readable image"
    yield "labelme", link("train/a b.json", "../../outside.png"), "is a symbolic link"
    yield "coco", link("annotations/b.json", "instances_train.json"), "is a symbolic link"
